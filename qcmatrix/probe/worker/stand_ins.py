"""What stands in for the parts of a CUDA build that a machine without a GPU does not have.

Compiled extensions, Triton and CUDA streams are imported and looked up by the code that decides, but never run by it.
A stand-in has every name and refuses to be called: no answer of a release comes from one. The few questions that the
release does ask the compiled code itself ("does this card run that kernel?") are answered here by the same comparison
as in the C++ sources of vLLM.
"""

# ruff: noqa: ARG001, ARG002 - the signatures are those of what is replaced

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import re
import sys
import types
from collections.abc import Callable
from typing import Any

NOT_CALLED = "a compiled CUDA kernel was called"
"""The text of the error that a stand-in raises: what ends with it was not decided by vLLM."""

_COMPILED = re.compile(r"vllm(\.vllm_flash_attn)?\.(\w*_C(_\w+)?|cumem_allocator)")
"""Extension modules, by name: ``vllm._C``, ``vllm._moe_C``, ``vllm._C_stable_libtorch`` ..."""

_SUPPORTED_FROM: dict[str, int] = {
    # https://github.com/vllm-project/vllm/blob/v0.32.0/csrc/libtorch_stable/quantization/w8a8/cutlass/scaled_mm_entry.cu
    # and nvfp4/nvfp4_scaled_mm_entry.cu, read 2026-11-22; built with CUDA 12.8 or newer
    "cutlass_scaled_mm_supports_fp8": 89,
    "cutlass_scaled_mm_supports_block_fp8": 90,
    "cutlass_scaled_mm_supports_fp4": 100,
    "cutlass_group_gemm_supported": 90,
}
"""Compute capability as a number of two digits, at least."""


class Op:
    """A compiled operator: it can be named and handed on, not called."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *_: Any, **__: Any) -> Any:
        """Nothing here computes."""
        raise RuntimeError(f"{NOT_CALLED}: {self._name}")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Op(f"{self._name}.{name}")

    def __mro_entries__(self, bases: Any) -> tuple[()]:
        return ()  # a class may derive from it

    def __or__(self, other: Any) -> Any:
        return Any  # annotations: `Name | None`

    __ror__ = __or__

    def __repr__(self) -> str:
        return f"<stand-in for {self._name}>"


class Anything(types.ModuleType):
    """A module that has every public name."""

    __path__: Any = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Op(f"{self.__name__}.{name}")


class CompiledParts(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a stand-in for each extension module of vLLM, also where the CPU build has one of that name.

    The CPU build's ``vllm._C`` does not load beside a newer torch, and where it does it registers the CPU's operators.
    """

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        """A spec where ``fullname`` is compiled code."""
        if _COMPILED.fullmatch(fullname):
            return importlib.machinery.ModuleSpec(fullname, self)
        return None

    def create_module(self, spec: Any) -> types.ModuleType:
        """The stand-in."""
        return Anything(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing to run."""


_BUILT_IN = ("vllm.vllm_flash_attn", "vllm.third_party.flashmla")
"""Python packages that only a CUDA build brings along (its build copies them from elsewhere)."""


class AttentionPackages(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """FlashAttention and FlashMLA where the CPU build leaves them out: which versions a card runs, and names."""

    def __init__(self, capability: Callable[[], tuple[int, int]]) -> None:
        self._capability = capability

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        """A spec for the package and for what is inside it; asked last, so only where there is none."""
        # xformers comes with the CUDA builds that have the older engine, whose attention this is; nobody else is told
        package = fullname.partition(".")[0]
        if (
            fullname.startswith(_BUILT_IN)
            or (package == "xformers" and "vllm.attention.backends.xformers" in sys.modules)
            or (package == "humming" and self._humming_is_taken_for_granted())
        ):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    @staticmethod
    def _humming_is_taken_for_granted() -> bool:
        """Does the release import these kernels on any CUDA host? Later ones (0.24.0) ask whether they are there."""
        return (
            "vllm.model_executor.layers.quantization.humming" in sys.modules
            and importlib.util.find_spec("vllm.utils.humming") is None
        )

    def create_module(self, spec: Any) -> types.ModuleType:
        """The stand-in."""
        return Anything(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """For FlashAttention the rule of 0.10.2's ``flash_attn_interface.py``: which cards run version 2, which 3."""

        def supported(version: int, device: Any = None) -> bool:
            card = self._capability()
            if version == 2:
                return card[0] >= 8
            return version == 3 and card[0] in (8, 9) and card not in ((8, 6), (8, 9))

        if module.__name__.startswith(("xformers", "humming")):
            return
        module.is_fa_version_supported = supported  # type: ignore[attr-defined]
        module.fa_version_unsupported_reason = lambda *_: "not for this card"  # type: ignore[attr-defined]


def open_namespace(namespace: Any, capability: Callable[[], tuple[int, int]]) -> None:
    """Give ``torch.ops._C`` and its like every operator; what asks for support is answered for the asked card."""
    kind = type(namespace)
    looked_up = kind.__getattr__

    def find(self: Any, name: str) -> Any:
        if name in _SUPPORTED_FROM:
            least = _SUPPORTED_FROM[name]
            return lambda asked=None: (asked or capability()[0] * 10 + capability()[1]) >= least
        try:
            return looked_up(self, name)
        except AttributeError:
            if name.startswith("__"):
                raise
            return Op(f"{self.name}.{name}")

    # a subclass for this namespace alone: operators of other libraries stay as strict as they are
    namespace.__class__ = type(kind.__name__, (kind,), {"__getattr__": find})


class _Config:
    """``triton.Config``: some tuning tables are read at import, without any kernel."""

    def __init__(self, kwargs: Any = None, num_warps: int = 4, num_stages: int = 1, **_: Any) -> None:
        self.kwargs, self.num_warps, self.num_stages = kwargs or {}, num_warps, num_stages


def _decorator(*arguments: Any, **_: Any) -> Any:
    """``triton.jit`` and its like: the function as it is."""
    if arguments and callable(arguments[0]):
        return arguments[0]
    return lambda function: function


def pretend_triton() -> None:
    """vLLM's own placeholders for Triton get every name, and ``HAS_TRITON`` is true as on any CUDA host."""
    import vllm.triton_utils as package
    import vllm.triton_utils.importing as importing

    importing.HAS_TRITON = package.HAS_TRITON = True
    triton = Anything("triton")
    triton.__version__ = "3.4.0"  # type: ignore[attr-defined]
    for name in ("jit", "autotune", "heuristics"):
        setattr(triton, name, _decorator)
    triton.Config = _Config  # type: ignore[attr-defined]
    triton.cdiv = lambda value, by: -(-value // by)  # type: ignore[attr-defined]
    triton.next_power_of_2 = lambda value: 1 << (value - 1).bit_length()  # type: ignore[attr-defined]
    language = triton.language = Anything("triton.language")  # type: ignore[attr-defined]
    language.constexpr = lambda value: value  # type: ignore[attr-defined]
    package.triton = triton
    for name in ("tl", "tldevice", "gluon", "gl", "aggregate"):
        if hasattr(package, name):
            setattr(package, name, language)
    if hasattr(package, "aggregate"):
        package.aggregate = _decorator


def without_audio() -> None:
    """Where ``soundfile`` is installed without its ``libsndfile``, let it count as not installed: vLLM copes with that.

    The older servers import it, and a question about a launch has no sound.
    """
    try:
        importlib.import_module("soundfile")
    except ImportError:
        return
    except OSError:
        sys.modules["soundfile"] = None  # type: ignore[assignment]  # how Python marks what is not to be found


def pretend_streams() -> None:
    """CUDA streams and events that a module or a layer makes for later use."""
    import torch

    for name in ("Stream", "Event", "ExternalStream", "CUDAGraph"):
        setattr(torch.cuda, name, type(name, (), {"__init__": lambda *_, **__: None}))


def stand_in_for_compiled(capability: Callable[[], tuple[int, int]]) -> None:
    """Make ``import`` find stand-ins. Before vLLM is imported."""
    sys.meta_path.insert(0, CompiledParts())
    sys.meta_path.append(AttentionPackages(capability))
