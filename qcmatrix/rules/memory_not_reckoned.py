"""Rule: options that hold GPU memory which the ledger leaves out."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range

_WITHOUT_MODEL = frozenset({"ngram", "[ngram]", "ngram_gpu", "suffix"})
_NATIVE = frozenset({"auto", "vllm"})


@rule(
    holds=Range("0.10.0"),
    reads=(
        "options",
        "speculation",
        "enable_lora",
        "enable_eplb",
        "num_redundant_experts",
        "kv_transfer",
        "enable_dbo",
        "model_impl",
        "prefill_context_parallel_size",
        "enable_sleep_mode",
    ),
    outcome=Outcome.DOES_NOT_FIT,
    enforced_by_vllm=False,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/v1/worker/gpu_model_runner.py",
            "Loading drafter model...",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/config/parallel.py",
            "Number of redundant experts to use for expert parallelism.",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/config/model.py",
            '"transformers" will use the Transformers model implementation.',
            Level.DERIVED,
        ),
    ),
)
def memory_not_reckoned(deployment: Deployment) -> Verdict:
    """An option holds GPU memory that is not reckoned here

    What it finds
    Options whose GPU memory is no part of the ledger: a draft model or draft layers (`--speculative-config` with
    another method than `ngram` or `suffix`), `--enable-lora`, `--enable-eplb` and redundant experts,
    `--kv-transfer-config`, `--enable-dbo` and `--ubatch-size`, `--model-impl transformers`,
    `--prefill-context-parallel-size`, offloading of weights by groups (`--offload-group-size`) and workers of one's
    own (`--worker-cls`, `--worker-extension-cls`). `--enable-sleep-mode` and `--enable-prompt-embeds` change a little
    only: they are noted, and decide nothing.

    Why it fails
    The weights and the KV cache of a drafter, the slots that LoRA adapters are loaded into, further copies of experts,
    the buffers of a KV connector or of a second half of the batch: vLLM takes all of it from the same budget. Without
    them the ledger shows more room than there is, or with weights offloaded less.

    What to do
    Check the launch without the option, which then gives an upper bound of the room, and leave a few GiB; or start it
    and read "Available KV cache memory".

    Not covered
    How much each takes. Host memory (`--kv-offloading-size`, `--swap-space`).
    """
    large: list[str] = []
    small: list[str] = []
    speculation = deployment.speculation
    if speculation is not None and speculation.method not in _WITHOUT_MODEL:
        if speculation.model is not None:
            large.append(f"the draft model {speculation.model}")
        else:
            large.append(f"the draft layers of method {speculation.method}")
    if deployment.enable_lora:
        large.append("the adapter slots of --enable-lora")
    if deployment.num_redundant_experts > 0:
        large.append(f"{deployment.num_redundant_experts} redundant experts per layer")
    if deployment.enable_eplb:
        large.append("the buffers that --enable-eplb moves experts through")
    if deployment.kv_transfer:
        large.append("the connector of --kv-transfer-config")
    if deployment.enable_dbo:
        large.append("the second batch half of --enable-dbo")
    if deployment.model_impl not in _NATIVE:
        large.append(f"the model code of --model-impl {deployment.model_impl}")
    if deployment.prefill_context_parallel_size > 1:
        large.append(f"--prefill-context-parallel-size {deployment.prefill_context_parallel_size}")
    if deployment.enable_sleep_mode:
        small.append("--enable-sleep-mode")
    if deployment.options:
        _rarer(deployment, large, small)
    if large:
        return Unknown(f"the ledger does not reckon {_listed(large + small)}")
    if small:
        return Unknown(f"the ledger does not reckon the little that {_listed(small)} may take", decides=False)
    return None


def _rarer(deployment: Deployment, large: list[str], small: list[str]) -> None:
    """What has no attribute of its own: added to ``large`` or ``small``."""
    options = deployment.options
    for dest in ("ubatch_size", "offload_group_size"):
        size = options.get(dest)
        if isinstance(size, int) and size > (1 if dest == "ubatch_size" else 0):
            large.append(f"--{dest.replace('_', '-')} {size}")
    if options.get("worker_cls", "auto") not in ("auto", None):
        large.append("--worker-cls")
    if options.get("worker_extension_cls"):
        large.append("--worker-extension-cls")
    if options.get("enable_prompt_embeds"):
        small.append("--enable-prompt-embeds")


def _listed(things: list[str]) -> str:
    return things[0] if len(things) == 1 else f"{', '.join(things[:-1])} and {things[-1]}"
