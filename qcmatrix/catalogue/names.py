"""The names people type: one door to looking up models and GPUs, and to the hints for a wrong name."""

from __future__ import annotations

from qcmatrix.catalogue.gpus import find_gpus, gpu_names
from qcmatrix.catalogue.models import (
    ResolvedCheckpoint,
    all_checkpoints,
    all_models,
    find_checkpoint,
    resolve_model,
)
from qcmatrix.catalogue.spelling import closest

__all__ = [
    "ResolvedCheckpoint",
    "all_checkpoints",
    "all_models",
    "closest",
    "find_checkpoint",
    "find_gpus",
    "gpu_names",
    "resolve_model",
]
