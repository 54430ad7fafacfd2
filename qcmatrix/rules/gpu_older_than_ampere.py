"""Rule: cards that vLLM's released wheels serve differently, or not at all."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range

_LEAST = ((Range("0.10.0", "0.20.0"), (7, 0)), (Range("0.20.0"), (7, 5)))
_OLD_ENGINE = Range("0.10.0", "0.10.2")
_BFLOAT16 = (8, 0)


@rule(
    holds=Range("0.10.0"),
    reads=("release", "gpu", "dtype"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.20.0/docs/getting_started/installation/gpu.cuda.inc.md",
            "GPU: compute capability 7.5 or higher (e.g., T4, RTX20xx, A100, L4, H100, B200, etc.)",
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.19.1/docs/getting_started/installation/gpu.cuda.inc.md",
            "GPU: compute capability 7.0 or higher (e.g., V100, T4, RTX20xx, A100, L4, H100, etc.)",
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/config/model.py",
            "Your device %s doesn't support %s. Falling back to %s for compatibility.",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/engine/arg_utils.py",
            "Compute Capability < 8.0",
            Level.DERIVED,
        ),
    ),
    enforced_by_vllm=False,
)
def gpu_older_than_ampere(deployment: Deployment) -> Verdict:
    """The card is older than what vLLM is mostly run on

    What it finds
    An NVIDIA card below the least compute capability that the release's installation page names: 7.0 up to 0.19.1,
    7.5 (so no V100) from 0.20.0 on. And cards from there up to 8.0, which are served in another way.

    Why it fails
    Below the least, the released wheels (built with CUDA 13.0 from 0.20.0 on) need not hold kernels for the card at
    all. Between the least and 8.0 there is no bfloat16: under `--dtype auto` vLLM says "Your device ... doesn't support
    torch.bfloat16. Falling back to torch.float16 for compatibility." It also takes other attention kernels there, and
    up to 0.10.1.1 the old V0 engine.

    What to do
    Take a release up to 0.19.1 for a V100, and try: no figure here was ever compared with a log of such a card.

    Not covered
    vLLM built from source, and forks for old cards.
    """
    gpu, version = deployment.gpu, deployment.release.version
    capability = gpu.compute_capability
    if gpu.vendor != "nvidia" or capability is None or capability >= _BFLOAT16:
        return None
    least = next(least for holds, least in _LEAST if version in holds)
    shown = f"{gpu.name} has compute capability {capability[0]}.{capability[1]}"
    if capability < least:
        return Unknown(
            f"{shown}, and the installation page of vLLM {deployment.release} wants {least[0]}.{least[1]} or higher: "
            "whether the wheels hold kernels for it is not known"
        )
    changes = ["other attention kernels"]
    if deployment.dtype == "auto":
        changes.insert(0, "float16 in place of bfloat16")
    if version in _OLD_ENGINE:
        changes.append("the V0 engine")
    return Unknown(
        f"{shown}: vLLM takes {', '.join(changes)}; figures were not compared with such cards", decides=False
    )
