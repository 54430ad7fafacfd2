"""A launch -> a deployment: the release's defaults for that GPU are filled in.

Mirrors what ``EngineArgs.create_engine_config`` of each release does before a GPU is touched, as far as something in
the project depends on it. A :class:`Resolver` is made once per release, fleet and checkpoint; a planner resolves
thousands of launches with it.
"""

from __future__ import annotations

from qcmatrix.resolve.options import online_quantization
from qcmatrix.resolve.resolver import Resolver

__all__ = ["Resolver", "online_quantization"]
