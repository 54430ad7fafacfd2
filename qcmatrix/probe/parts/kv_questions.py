"""What is asked about the KV cache: layers of real models (``specs/...``), plans for a free memory (``plan/...``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from qcmatrix.catalogue.models import find_checkpoint
from qcmatrix.memory.kv_behaviour import behaviour
from qcmatrix.memory.kv_cache import Layout as KvLayout
from qcmatrix.memory.kv_cache import kv_layout, supported_kv_cache_dtypes
from qcmatrix.probe.parts.weights import Layout
from qcmatrix.versions import Version, parse_version

__all__ = ["FULL", "LENGTH", "QUICK", "Plan", "Specs"]

LENGTH: Final = 4096
"""``--max-model-len`` of the questions for specs: a state that prefixes do not share counts as one block of it."""
_GIB: Final = 1 << 30
_HYBRID_FROM: Final = parse_version("0.10.2")
"""The release that has Qwen3-Next."""


class Specs(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The layers of one checkpoint on one rank of each stage."""

    checkpoint: str
    tp: int = 1
    pp: int = 1
    partition: tuple[int, ...] | None = None
    capability: tuple[int, int] = (9, 0)
    kv_cache_dtype: str = "auto"
    prefix_caching: bool | None = None
    """``None``: the release's default."""
    block_size: int | None = None

    @property
    def subject(self) -> str:
        """``specs/next/tp2-prefix-caching``: unique among questions."""
        more = [self.kv_cache_dtype] * (self.kv_cache_dtype != "auto")
        if self.prefix_caching is not None:
            more.append("prefix-caching" if self.prefix_caching else "no-prefix-caching")
        more += [f"block{self.block_size}"] * (self.block_size is not None)
        return "-".join([f"specs/{self.layout.subject}", *more])

    @property
    def layout(self) -> Layout:
        """The ranks alone."""
        return Layout(self.checkpoint, tp=self.tp, pp=self.pp, partition=self.partition, capability=self.capability)

    def options(self) -> list[str]:
        """What is asked beyond the layout, as words of ``vllm serve``."""
        said = ["--max-model-len", str(LENGTH), "--kv-cache-dtype", self.kv_cache_dtype]
        if self.block_size is not None:
            said += ["--block-size", str(self.block_size)]
        if self.prefix_caching is not None:
            said.append("--enable-prefix-caching" if self.prefix_caching else "--no-enable-prefix-caching")
        return said

    def question(self, _version: Version) -> dict[str, Any]:
        """What the worker is asked."""
        given = {
            "kv_cache_dtype": self.kv_cache_dtype,
            "enable_prefix_caching": self.prefix_caching,
            "block_size": self.block_size,
        }
        return {
            "ask": "kv_specs",
            "config": find_checkpoint(self.checkpoint).checkpoint.repository,
            "tp": self.tp,
            "pp": self.pp,
            "partition": self.partition,
            "capability": self.capability,
            "arguments": {
                "max_model_len": LENGTH,
                **{name: value for name, value in given.items() if value not in (None, "auto")},
            },
        }

    def fits(self, version: Version) -> bool:
        """Does ``version`` know what it is asked?"""
        return (
            _has_model(self.checkpoint, version)
            and self.kv_cache_dtype in supported_kv_cache_dtypes(version)
            and (not self.prefix_caching or not _is_hybrid(self.checkpoint) or behaviour(version).mamba_align_mode)
        )


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One launch with so much free memory."""

    checkpoint: str
    available: tuple[int, ...]
    """Bytes for the cache, of a rank of each stage."""
    max_model_len: int = 262_144
    tp: int = 1
    stages: tuple[int, ...] = ()
    """Layers of each pipeline stage; empty: one stage."""
    capability: tuple[int, int] = (9, 0)
    kv_cache_dtype: str = "auto"
    block_size: int | None = None
    dcp: int = 1
    override: int | None = None
    """``--num-gpu-blocks-override``."""
    prefix_caching: bool = False
    ssm_dtype: str = "auto"
    speculative: int = 0
    """Tokens."""

    @property
    def subject(self) -> str:
        """``plan/480b/tp8-65831525231``: unique among questions."""
        pieces = [f"tp{self.tp}"]
        pieces += ["pp" + ",".join(map(str, self.stages))] * bool(self.stages)
        pieces += [",".join(map(str, self.available)), f"len{self.max_model_len}"]
        pieces += ["sm{}.{}".format(*self.capability)] * (self.capability != (9, 0))
        for name in ("kv_cache_dtype", "block_size", "dcp", "override", "prefix_caching", "ssm_dtype", "speculative"):
            value = getattr(self, name)
            if value not in (None, "auto", 0, False) and not (name == "dcp" and value == 1):
                pieces.append(f"{name}={value}")
        return f"plan/{self.checkpoint}/{'-'.join(pieces)}"

    def layout(self, version: Version) -> KvLayout:
        """What :mod:`qcmatrix.memory` makes of it."""
        shape = find_checkpoint(self.checkpoint).architecture
        stages = self.stages or (shape.num_hidden_layers,)
        return kv_layout(
            shape,
            tensor_parallel_size=self.tp,
            pipeline_parallel_size=len(stages),
            pipeline_partition=stages,
            kv_cache_dtype=self.kv_cache_dtype,
            block_size=self.block_size,
            decode_context_parallel_size=self.dcp,
            version=version,
            enable_prefix_caching=self.prefix_caching,
            mamba_ssm_cache_dtype=self.ssm_dtype,
            num_speculative_tokens=self.speculative,
            compute_capability=self.capability,
        )

    def question(self, version: Version) -> dict[str, Any]:
        """What the worker is asked."""
        layout = self.layout(version)
        shape = find_checkpoint(self.checkpoint).architecture
        asked = msgspec.structs.asdict(self)
        del asked["checkpoint"]
        return {
            **asked,
            "ask": "kv_plan",
            "layers": shape.num_hidden_layers,
            "kv_heads": shape.num_key_value_heads,
            "head_dim": shape.head_dim,
            "linear": msgspec.to_builtins(shape.linear_attention),
            "stages": self.stages or (shape.num_hidden_layers,),
            # planning is told what the layers declare; whether they do is what `specs/` asks
            "checkpoints": any(stage.state and stage.state.checkpoint_alignment > 1 for stage in layout),
        }

    def fits(self, version: Version) -> bool:
        """Does ``version`` know what it is asked?"""
        known = behaviour(version)
        return (
            _has_model(self.checkpoint, version)
            and self.kv_cache_dtype in supported_kv_cache_dtypes(version)
            and (self.dcp == 1 or known.has_decode_context_parallel)
            and (self.ssm_dtype == "auto" or known.ssm_dtype_is_separate)
            and (not self.prefix_caching or not _is_hybrid(self.checkpoint) or known.mamba_align_mode)
            and (not self.speculative or known.counts_speculative_states)
        )


def _is_hybrid(checkpoint: str) -> bool:
    return find_checkpoint(checkpoint).architecture.linear_attention is not None


def _has_model(checkpoint: str, version: Version) -> bool:
    return not _is_hybrid(checkpoint) or version >= _HYBRID_FROM


def _specs_quick() -> Iterator[Specs]:
    for tensor in (1, 8, 16):
        yield Specs("480b", tp=tensor)
    yield Specs("480b-fp8", tp=4, pp=2, partition=(32, 30), kv_cache_dtype="fp8")
    yield Specs("30b", tp=8)
    yield Specs("30b", tp=2, block_size=32)
    for tensor in (1, 2, 4, 8):
        yield Specs("next", tp=tensor)
    yield Specs("next", tp=2, prefix_caching=True)
    yield Specs("next", tp=2, prefix_caching=False)
    yield Specs("next", pp=5)
    yield Specs("next", tp=8, capability=(10, 0))


def _plans_quick() -> Iterator[Plan]:
    for tensor, memory in ((8, 65_831_525_231), (4, 31_234_567_891), (16, 12_345_678_901)):
        yield Plan("480b", (memory,), tp=tensor)
        yield Plan("480b", (memory,), tp=tensor, kv_cache_dtype="fp8", max_model_len=1_000_000)
    yield Plan("480b", (5 * _GIB + 7, 9 * _GIB + 11), tp=8, stages=(31, 31))
    yield Plan("480b", (20 * _GIB, 20 * _GIB), tp=4, stages=(32, 30), max_model_len=131_072)
    yield Plan("480b", (9 * _GIB + 1,), tp=8, dcp=2)
    yield Plan("480b", (4 * _GIB,), tp=8, override=5000)
    yield Plan("480b", (4 * _GIB,), tp=8, override=20_000)
    for tensor, memory in ((1, 11_000_000_003), (2, 5_555_555_555), (8, 29 * _GIB)):
        yield Plan("30b", (memory,), tp=tensor)
    yield Plan("30b", (3_333_333_333,), kv_cache_dtype="fp8", block_size=64, max_model_len=65_536)
    yield Plan("30b", (24 * _GIB,), max_model_len=262_144)
    yield Plan("30b", (24 * _GIB + 65_536 * 24,), max_model_len=262_144)
    yield Plan("30b", (3 * _GIB, 20 * _GIB), stages=(16, 32))
    for tensor, memory in ((1, 50 * _GIB + 3), (2, 20 * _GIB), (4, 7_777_777_777), (8, 1 * _GIB)):
        yield Plan("next", (memory,), tp=tensor)
        yield Plan("next", (memory,), tp=tensor, prefix_caching=True)
    yield Plan("next", (20 * _GIB,), tp=2, kv_cache_dtype="fp8")
    yield Plan("next", (20 * _GIB,), tp=2, ssm_dtype="float32")
    yield Plan("next", (20 * _GIB,), tp=2, block_size=64, max_model_len=100_000)
    yield Plan("next", (9 * _GIB, 8 * _GIB), tp=2, stages=(24, 24))
    yield Plan("next", (9 * _GIB, 8 * _GIB, 8 * _GIB), tp=2, stages=(17, 16, 15), prefix_caching=True)
    yield Plan("next", (20 * _GIB,), tp=2, speculative=2)
    yield Plan("next", (6 * _GIB,), tp=8, capability=(8, 9), prefix_caching=True)


QUICK: Final[tuple[Specs | Plan, ...]] = (*_specs_quick(), *_plans_quick())
"""About half a minute on a warm worker."""


def _full() -> Iterator[Specs | Plan]:
    yield from QUICK
    for name in ("480b", "480b-fp8", "480b-awq", "30b", "30b-fp8", "30b-awq", "next", "next-fp8"):
        for tensor in (1, 2, 4, 8, 16):
            yield Specs(name, tp=tensor)
        yield Specs(name, tp=2, kv_cache_dtype="fp8")
        yield Specs(name, tp=2, pp=3)
    for capability in ((8, 0), (8, 9), (10, 0), (12, 0)):
        yield Specs("next", tp=2, capability=capability, prefix_caching=True)
        yield Specs("30b", tp=2, capability=capability)
    # pages with scales are the attention backend's business, so a plan made without one says nothing of them
    for kv_cache_dtype in ("int8_per_token_head", "fp8_per_token_head", "int4_per_token_head"):
        yield Specs("30b", tp=2, capability=(10, 0), kv_cache_dtype=kv_cache_dtype)
    for name in ("480b", "30b", "next"):
        for tensor in (1, 2, 4, 8):
            for kv_cache_dtype in ("auto", "fp8", "bfloat16"):
                for length in (8_000, 262_144, 1_048_576):
                    for memory in (700_000_001, 17 * _GIB + 5):
                        yield Plan(name, (memory,), tp=tensor, kv_cache_dtype=kv_cache_dtype, max_model_len=length)


FULL: Final[tuple[Specs | Plan, ...]] = tuple(dict.fromkeys(_full()))
"""The whole family on 1 to 16 ranks, cache dtypes, lengths and amounts of memory."""
