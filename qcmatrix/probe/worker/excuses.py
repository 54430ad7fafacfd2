"""Errors that say something about this machine or about the stand-ins, not about the launch: data, each with why."""

from __future__ import annotations

import re
import traceback

from qcmatrix_worker import stand_ins

__all__ = ["EXCUSES", "why_not", "without_pydantic", "words_of"]

EXCUSES: tuple[tuple[str, str], ...] = (
    (re.escape(stand_ins.NOT_CALLED), "it runs a compiled CUDA kernel"),
    (r"Failed to import Ray|Unable to load Ray|No module named 'ray'", "Ray is not installed here"),
    (r"DeepEP|deep_ep|pplx|No module named 'mori", "the kernels of that all-to-all backend are not installed here"),
    (
        # CUDA hosts have FlashInfer, which is taken where FlashAttention 3 cannot be; here the choice falls on others
        r"FP8 KV cache is not supported by the Triton attention backend|FlashAttention does not support fp8 kv-cache",
        "a CUDA host takes FlashInfer's attention, which is not installed here",
    ),
    (
        # CUDA builds of later releases bring DeepGEMM along, others may have it
        r"does not support current device",
        "whether that kernel runs depends on a package that is not installed here (DeepGEMM, FlashInfer)",
    ),
    (
        # the last: among the reasons why each attention backend was passed over
        r"No module named '(?!vllm)[\w.]+'|[Pp]lease install (?!Transformers)|(to be|is not) installed|\['?ImportError",
        "it needs a package that is not installed here",
    ),
    (
        r"Torch not compiled with CUDA|No CUDA GPUs are available|Found no NVIDIA driver|libcuda",
        "it talks to the CUDA driver",
    ),
    (r"'get_vocab'|model tokenizer must|skip_tokenizer_init", "it needs the tokenizer, which is left out here"),
    (r"LocalEntryNotFoundError|offline mode|HF_HUB_OFFLINE|couldn't connect to", "it wants to download something"),
)
"""``(regular expression that the error's type or text matches, why)``; the first one counts."""

_PYDANTIC = re.compile(r" \[type=\w+, input_value=.*?, input_type=\w+\](?=\n|$)", re.DOTALL)
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_MORE = re.compile(r"\n\s+For further information visit https://errors\.pydantic\.dev/\S+")


def words_of(error: BaseException) -> str:
    """What ``error`` says; of a bare ``assert`` the line that a traceback shows, which is all that a user sees."""
    text = _ADDRESS.sub(" at 0x...", without_pydantic(str(error)))
    if text or error.__traceback__ is None:
        return text
    return traceback.extract_tb(error.__traceback__)[-1].line or ""


def why_not(kind: str, text: str) -> str | None:
    """Why this error of type ``kind`` is no refusal of the launch; ``None`` where it is one."""
    said = f"{kind}: {text}"
    return next((why for pattern, why in EXCUSES if re.search(pattern, said)), None)


def without_pydantic(text: str) -> str:
    """``text`` without pydantic's repetition of the input (it holds this machine's paths) and its link."""
    return _MORE.sub("", _PYDANTIC.sub("", text))
