"""How large a workload is: as the catalogue says on a known GPU, a small picture of it elsewhere."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from qcmatrix.matrix.entries import CPU
from qcmatrix.suites.bench import Subject
from qcmatrix.suites.declare import NotApplicable

__all__ = ["SIZE_VARIABLE", "Shape", "fitting", "scaled_why"]

SIZE_VARIABLE = "QCMATRIX_LATENCY"
"""``full`` or ``scaled``: overrides what is chosen by the server."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of load."""

    tokens_in: int
    tokens_out: int
    concurrency: int = 1
    requests: int = 1
    """So many are measured."""
    warm_up: int = 10
    """So many go before and are not."""

    @property
    def told(self) -> dict[str, Any]:
        """For the figures of a result."""
        return msgspec.to_builtins(self)  # type: ignore[no-any-return]


def scaled_why(subject: Subject) -> str:
    """Why the server gets the small workloads, which gate nothing but form; empty: it gets the full ones."""
    asked = os.environ.get(SIZE_VARIABLE, "")
    if asked == "full":
        return ""
    if asked == "scaled":
        return f"{SIZE_VARIABLE}=scaled"
    if subject.entry is not None and subject.entry.fleet == CPU:
        return "served by a CPU"
    return "" if subject.gpu is not None else "the card is not known"


def fitting(subject: Subject, full: Shape, scaled: Shape, *, spare: int = 0) -> Shape:
    """The shape for the server; ``spare``: tokens that the chat template and the tools take besides.

    Raises:
        NotApplicable: it does not fit into the context that the server has.
    """
    shape = scaled if scaled_why(subject) else full
    need = shape.tokens_in + shape.tokens_out + spare
    if subject.max_model_len is not None and need > subject.max_model_len:
        raise NotApplicable(f"needs {need} tokens of context, the server has {subject.max_model_len}")
    return shape
