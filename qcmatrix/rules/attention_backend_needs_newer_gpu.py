"""Rule: an attention backend that is asked for on a card that is too old for it."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range

_LEAST = {"FLASH_ATTN": (8, 0)}


@rule(
    holds=Range("0.11.1"),
    reads=("gpu", "attention_backend"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/v1/attention/backends/flash_attn.py",
            "Selected backend AttentionBackendEnum.FLASH_ATTN is not valid for this configuration. Reason: "
            "['compute capability not supported']",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.11.1/vllm/v1/attention/backends/flash_attn.py",
            "return capability >= DeviceCapability(8, 0)",
            Level.DERIVED,
        ),
    ),
)
def attention_backend_needs_newer_gpu(deployment: Deployment) -> Verdict:
    """The attention backend asked for needs a newer card

    What it finds
    FlashAttention asked for by name (`--attention-backend FLASH_ATTN`, or `VLLM_ATTENTION_BACKEND` where the release
    reads it) on an NVIDIA card below compute capability 8.0, such as a T4.

    Why it fails
    A backend that is named is a condition. From 0.11.1 on vLLM compares it with the card while it builds the layers:
    "Selected backend ... is not valid for this configuration. Reason: ['compute capability not supported']".

    What to do
    Leave it out: vLLM takes a backend that runs on the card.

    Not covered
    Other backends, whose least compute capability differs by release.
    """
    gpu, backend = deployment.gpu, deployment.attention_backend
    least = _LEAST.get(backend or "")
    if least is None or gpu.vendor == "amd" or gpu.compute_capability is None or gpu.compute_capability >= least:
        return None
    have = gpu.compute_capability
    drop = Fix("leave the attention backend to vLLM", drop=("attention_backend",), drop_env=("VLLM_ATTENTION_BACKEND",))
    return Breach(
        because=f"{backend} needs compute capability {least[0]}.{least[1]}, and {gpu.name} has {have[0]}.{have[1]}",
        about=("attention_backend",),
        fixes=(drop,),
        error="is not valid for this configuration.",
    )
