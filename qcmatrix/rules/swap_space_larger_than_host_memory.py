"""Rule: CPU swap space in the releases that had it."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range

_DEFAULT_GIB = 4.0
_ALLOWED_SHARE = 0.7
# No host that GPUs are put into has more than this today: beyond it the answer does not depend on the machine.
_LARGEST_HOST_GIB = 6144


@rule(
    holds=Range("0.10.0", "0.18.0"),
    reads=("swap_space_gib", "tensor_parallel_size"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.17.1/vllm/config/cache.py",
            'if cpu_memory_usage > 0.7 * total_cpu_memory: raise ValueError("Too large swap space. " + msg)',
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/config.py",
            "Too large swap space.",
            Level.DERIVED,
        ),
    ),
    enforced_by_vllm=False,
)
def swap_space_larger_than_host_memory(deployment: Deployment) -> Verdict:
    """The swap space may be larger than the host's memory allows

    What it finds
    `--swap-space` (GiB per GPU; 4 when not given) x tensor parallel size, in the releases that still had swap space
    (up to 0.17.1).

    Why it fails
    vLLM refuses when the swap space of one engine is more than 70 % of the host's memory: "Too large swap space.
    32.00 GiB out of the 31.29 GiB total CPU memory is allocated for the swap space." The V1 engine does not even use
    it.

    What to do
    `--swap-space 0` is safe in all these releases. From 0.18.0 the flag is gone.

    Not covered
    The host's memory is no part of a launch. A plain default is not reported; a larger wish is noted with the memory
    it takes, and refused here only where no host could have it.
    """
    swap = deployment.swap_space_gib
    if swap is None or swap <= _DEFAULT_GIB:
        return None
    ranks = deployment.tensor_parallel_size
    wanted = swap * ranks
    need = wanted / _ALLOWED_SHARE
    because = f"{swap:g} GiB x {ranks} GPUs = {wanted:g} GiB of swap space asks for a host of more than {need:.0f} GiB"
    if need <= _LARGEST_HOST_GIB:
        return Unknown(f"{because}, and vLLM's V1 engine does not use it", decides=False)
    return Breach(
        because=because,
        about=("swap_space",),
        fixes=(Fix("use `--swap-space 0`", set={"swap_space": 0}),),
        error=f"Too large swap space. {wanted:.2f} GiB out of the",
    )
