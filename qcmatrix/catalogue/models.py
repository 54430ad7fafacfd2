"""Models and checkpoints: what a ``config.json`` says, in vLLM's own words.

A *model* is an architecture; a *checkpoint* is one published set of weights of it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Literal

import msgspec

from qcmatrix.catalogue.sources import Source
from qcmatrix.catalogue.spelling import closest, normalise_model
from qcmatrix.errors import CatalogueError

__all__ = [
    "Architecture",
    "Checkpoint",
    "LinearAttention",
    "MixtureOfExperts",
    "ModelFile",
    "Quantization",
    "ResolvedCheckpoint",
    "all_checkpoints",
    "all_models",
    "find_checkpoint",
    "known_checkpoint",
    "resolve_model",
]

QuantMethod = Literal["none", "fp8", "awq", "gptq", "compressed-tensors", "modelopt"]


class MixtureOfExperts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The sparse MLP of every layer that has one. All sizes are elements."""

    num_experts: int
    num_experts_per_tok: int
    moe_intermediate_size: int
    shared_expert_intermediate_size: int = 0
    dense_layers: tuple[int, ...] = ()
    """Indices of the layers that keep a dense MLP (``mlp_only_layers``, ``decoder_sparse_step``)."""


class LinearAttention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The gated delta-net layers of a hybrid model (Qwen3-Next). All sizes are elements."""

    full_attention_interval: int
    """Every n-th layer is a full attention layer, the others are linear."""
    num_key_heads: int
    num_value_heads: int
    key_head_dim: int
    value_head_dim: int
    conv_kernel_dim: int


class Architecture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What vLLM builds the model from. Names follow ``config.json``."""

    architecture: str
    """The class, as in ``architectures``: ``Qwen3MoeForCausalLM`` ..."""
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    max_position_embeddings: int
    """Native positions."""
    rope_theta: float
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    """Bias on q, k and v (Qwen2)."""
    qk_norm: bool = True
    attn_output_gate: bool = False
    """Qwen3-Next: the query projection is twice as wide."""
    moe: MixtureOfExperts | None = None
    linear_attention: LinearAttention | None = None
    rope_scaling: dict[str, float | int | str] | None = None
    """As published in ``config.json``, when it is."""

    @property
    def mlp_elements(self) -> int:
        """Elements of one MLP projection, all experts and layers: a measure to order models by."""
        width = self.moe.num_experts * self.moe.moe_intermediate_size if self.moe else self.intermediate_size
        return self.num_hidden_layers * self.hidden_size * width


class Quantization(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a checkpoint stores its linear weights."""

    method: QuantMethod = "none"
    """vLLM's ``quant_method``."""
    weight_bits: int = 16
    group_size: int | None = None
    """Elements that share one scale along the input (AWQ, GPTQ, NVFP4); ``-1`` or ``None``: per channel or tensor."""
    block: tuple[int, int] | None = None
    """FP8 block (n, k) that shares one scale."""
    scale_bits: int = 16
    """Of one group's scale (AWQ, GPTQ: 16; NVFP4: 8, FP8 scales plus one FP32 scale per matrix)."""
    activation_bits: int = 16
    """8 for W8A8, 4 for NVFP4 W4A4."""
    symmetric: bool = True
    """``False``: zero points are stored (AWQ)."""
    unquantized: tuple[str, ...] = ()
    """Which parts stay in 16 bit: of ``lm_head``, ``attention``, ``linear_attention``, ``router``, ``shared_expert``,
    ``mlp``, ``experts``, ``embedding``. ``embedding`` and ``router`` are always so and need not be listed."""
    unquantized_layers: tuple[int, ...] = ()
    """Layers that stay in 16 bit as a whole."""


class Checkpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One published set of weights."""

    repository: str
    """As vLLM takes it: ``Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8``."""
    short: str
    """The short name: ``480b-fp8``."""
    aliases: tuple[str, ...] = ()
    quantization: Quantization = Quantization()
    max_position_embeddings: int | None = None
    """When it differs from the architecture's."""
    rope_theta: float | None = None
    """When it differs from the architecture's."""
    tool_call_parser: str | None = None
    """The parser that fits its chat template, newest release; ``None``: not known."""
    sources: tuple[Source, ...] = ()
    notes: tuple[str, ...] = ()


class ModelFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``data/models/<name>.toml``: one architecture and its checkpoints."""

    name: str
    family: str
    """``qwen3-coder``, ``qwen3``, ``qwen2.5-coder``."""
    architecture: Architecture
    sources: tuple[Source, ...]
    checkpoints: tuple[Checkpoint, ...]


class ResolvedCheckpoint(msgspec.Struct, frozen=True):
    """A checkpoint that was asked for, ready to compute with."""

    model: ModelFile
    checkpoint: Checkpoint
    architecture: Architecture
    """The model's, with what this checkpoint overrides (positions, ``rope_theta``) applied."""
    path: str | None = None
    """The ``config.json`` that it was read from; ``None``: it is in the catalogue."""

    @property
    def quantization(self) -> Quantization:
        """As the checkpoint stores it."""
        return self.checkpoint.quantization

    @property
    def repository(self) -> str:
        """What vLLM is given as the model."""
        return self.checkpoint.repository


def all_models() -> tuple[ModelFile, ...]:
    """Every model, the Coder family first, the larger ones first."""
    from qcmatrix.catalogue.packed import load  # the packed file is typed by this module

    return load().models


def all_checkpoints() -> tuple[ResolvedCheckpoint, ...]:
    """Every checkpoint of every model, in catalogue order."""
    return tuple(_resolve(model, checkpoint) for model in all_models() for checkpoint in model.checkpoints)


@lru_cache(maxsize=256)
def find_checkpoint(text: str) -> ResolvedCheckpoint:
    """The catalogue's checkpoint that ``text`` names, upper and lower case alike.

    A short name or alias (``480b-fp8``), a repository (``Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8``), its last part, or
    a path that ends in it (``/models/...``, a Hugging Face cache directory). The Coder family has the plain names:
    ``30b-fp8`` is Qwen3-Coder-30B-A3B-Instruct-FP8.

    Raises:
        CatalogueError: nothing has that name; the notes give the closest ones.
    """
    if (known := known_checkpoint(text)) is not None:
        return known
    names, repositories = _index()
    wanted = _wanted(text)
    base = wanted.rpartition("/")[2]
    shown = {spelling: checkpoint.short for spelling, (_, checkpoint) in names.items()}
    for spelling, (_, checkpoint) in repositories.items():
        shown[spelling] = shown[spelling.rpartition("/")[2]] = checkpoint.repository
    hints = closest(base or wanted, shown)
    raise CatalogueError(
        f"no model is called {text.strip()!r}",
        *([f"close: {', '.join(hints)}"] if hints else []),
        "`qcmatrix models` lists them; for any other checkpoint give its directory or config.json",
    )


def known_checkpoint(text: str) -> ResolvedCheckpoint | None:
    """The checkpoint that :func:`find_checkpoint` finds; ``None``: nothing in the catalogue has that name."""
    names, repositories = _index()
    wanted = _wanted(text)
    if found := names.get(wanted) or repositories.get(wanted):
        return _resolve(*found)
    head, _, base = wanted.rpartition("/")
    # another publisher's `.../Qwen3-...-AWQ` may be quantized otherwise than the listed one: only a path may differ
    if _is_path(head) and (found := names.get(base)):
        return _resolve(*found)
    return None


def _wanted(text: str) -> str:
    """How the name is looked up: a directory of the Hugging Face cache is the repository that it is of."""
    wanted = normalise_model(text).replace("\\", "/")
    if cached := re.search(r"models--(.+?)--([^/]+)", wanted):
        wanted = f"{cached[1]}/{cached[2]}"
    return wanted.rstrip("/").removesuffix("/config.json")


def resolve_model(text: str) -> ResolvedCheckpoint:
    """What ``--model`` means: a local ``config.json`` or a directory that holds one, else a name of the catalogue.

    Raises:
        FileProblem: a file or directory that is there but cannot be used.
        CatalogueError: no such file, and nothing in the catalogue has that name.
    """
    path = Path(text).expanduser()
    if path.suffix == ".json" or path.is_dir() or path.is_file():
        from qcmatrix.catalogue.config_json import read_config  # rarely needed

        return read_config(path)
    return find_checkpoint(text)


def _is_path(head: str) -> bool:
    return head.startswith(("/", "~", ".")) or "/" in head or ":" in head or head in _FOLDER_WORDS


_Names = dict[str, tuple[ModelFile, Checkpoint]]
_FOLDER_WORDS = frozenset({"models", "model", "weights", "checkpoints", "data", "hf", "huggingface", "cache"})


@lru_cache(maxsize=1)
def _index() -> tuple[_Names, _Names]:
    """Short names, aliases and last parts of repositories; whole repositories."""
    names: _Names = {}
    repositories: _Names = {}
    for model in all_models():
        for checkpoint in model.checkpoints:
            repository = normalise_model(checkpoint.repository)
            repositories[repository] = entry = (model, checkpoint)
            for name in (checkpoint.short, *checkpoint.aliases, repository.rpartition("/")[2]):
                names.setdefault(normalise_model(name), entry)
    return names, repositories


def _resolve(model: ModelFile, checkpoint: Checkpoint) -> ResolvedCheckpoint:
    changes: dict[str, float] = {}
    if checkpoint.max_position_embeddings is not None:
        changes["max_position_embeddings"] = checkpoint.max_position_embeddings
    if checkpoint.rope_theta is not None:
        changes["rope_theta"] = checkpoint.rope_theta
    architecture = msgspec.structs.replace(model.architecture, **changes) if changes else model.architecture
    return ResolvedCheckpoint(model, checkpoint, architecture)
