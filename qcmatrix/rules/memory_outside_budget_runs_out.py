"""Rule: CUDA graphs and warm-up that do not fit what the budget leaves free."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.memory.ledger import Footprint
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("footprint", "gpu_memory_utilization", "enforce_eager", "max_num_seqs"),
    outcome=Outcome.DOES_NOT_FIT,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/v1/worker/gpu_model_runner.py",
            "CUDA out of memory occurred when warming up sampler with",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/v1/worker/gpu_model_runner.py",
            "Please try lowering `max_num_seqs` or `gpu_memory_utilization` when initializing the engine.",
            Level.DERIVED,
        ),
    ),
)
def memory_outside_budget_runs_out(deployment: Deployment, footprint: Footprint) -> Verdict:
    """CUDA graphs or the sampler's warm-up may not fit outside the budget

    What it finds
    A high `--gpu-memory-utilization` whose remainder is too small for what vLLM allocates after the KV cache: CUDA
    graphs in the releases that do not count them, and the warm-up of the sampler (vocabulary x `--max-num-seqs`).

    Why it fails
    The KV cache takes all that the budget leaves. What comes after it must fit the rest of the card, and otherwise
    CUDA runs out of memory at the very end of the start: "CUDA out of memory occurred when warming up sampler with
    1024 dummy requests. Please try lowering `max_num_seqs` or `gpu_memory_utilization` when initializing the
    engine.", or a plain out-of-memory error while capturing graphs.

    What to do
    Lower `--gpu-memory-utilization` a little, lower `--max-num-seqs`, or use `--enforce-eager` (slower).

    Not covered
    Memory that other processes hold on the same card.
    """
    room = footprint.room_outside_gib
    if room is None or room.low >= 0:
        return None
    share = deployment.gpu_memory_utilization
    left = footprint.usable_gib - footprint.budget_gib
    because = (
        f"about {left - room.mid:.2f} GiB are taken outside the budget (what each process holds before vLLM measures, "
        f"CUDA graphs, warm-up), and --gpu-memory-utilization {share:g} leaves {left:.2f} GiB for it"
    )
    if room.high >= 0:
        return Unknown(f"{because}: it may run out (room {room.low:.2f} to {room.high:.2f} GiB)", decides=False)
    lower = max(0.05, int((share + room.low / footprint.usable_gib) * 100) / 100)
    fixes = [Fix(f"use `--gpu-memory-utilization {lower:g}`", set={"gpu_memory_utilization": lower})]
    if deployment.max_num_seqs > 16:
        fixes.append(Fix("use `--max-num-seqs 16`", set={"max_num_seqs": 16}))
    if not deployment.enforce_eager:
        fixes.append(Fix("add `--enforce-eager`", set={"enforce_eager": True}))
    return Breach(
        because=because,
        about=("gpu_memory_utilization", "max_num_seqs"),
        fixes=tuple(fixes),
        error="CUDA out of memory",
    )
