"""How many bytes of parameters one rank holds, as the release's own model code creates them. No GPU, no checkpoint.

A question names a config and the layout; all but ``config`` may be left out::

    {"config": "NAME", "tp": 8, "pp": 1, "dp": 1, "ep": true, "partition": [31, 31], "quantization": "fp8",
     "capability": [9, 0], "ranks": "all", "modules": true, "arguments": {...}, "change": {...}}

``partition`` is ``VLLM_PP_LAYER_PARTITION``, ``arguments`` further ones of ``EngineArgs``, ``change`` overrides keys of
the config. The answer has one entry for each pipeline stage: the bytes of all parameters (``bytes``) and of its buffers
(``buffers``) of its first rank, or of its largest one with ``ranks: all``; with ``modules`` both by name. What vLLM
refuses is answered with ``refused``: its own words.

The model is built on the meta device, which has shapes but no memory. What is replaced is listed in ``pretend.py``,
``stand_ins.py`` and ``groups.py``; no number that is counted comes from there. What happens to the weights after
loading (repacking) is not seen.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from qcmatrix_worker import NotAskable, configs, groups, pretend, stand_ins

__all__ = ["HANDLERS", "each_stage"]

_PARTITION = "VLLM_PP_LAYER_PARTITION"
_CARDS = 4096
"""More than any question has ranks: the number of cards decides nothing here."""
_LENGTH = 4096
_REFUSALS = (ValueError, AssertionError, NotImplementedError, RuntimeError, ZeroDivisionError)
"""What vLLM raises at a launch that it does not take; anything else means that the question was not worked out."""


def answer_weights(question: dict[str, Any]) -> dict[str, Any]:
    """``{"stages": [{"bytes": int, "buffers": int}]}`` or ``{"refused": {"type": ..., "text": ...}}``."""
    modules = bool(question.get("modules"))
    return each_stage(question, lambda model, _config: _count(model, modules=modules))


def each_stage(
    question: dict[str, Any], read: Callable[[Any, Any], dict[str, Any]], **arguments: Any
) -> dict[str, Any]:
    """What ``read(model, vllm_config)`` says on each pipeline stage; of its largest rank where all are asked.

    ``arguments`` of ``EngineArgs`` stand behind those of the question.
    """
    groups.ready()
    capability = question.get("capability") or pretend.H200.capability
    pretend.set_card(capability=(capability[0], capability[1]), count=_CARDS)
    tp, pp, dp = (question.get(name) or 1 for name in ("tp", "pp", "dp"))
    stages = []
    try:
        with _folder(question) as folder, _partition(question.get("partition")):
            for stage in range(pp):
                ranks = [stage * tp]
                if question.get("ranks") == "all":
                    ranks = [group * tp * pp + stage * tp + place for group in range(dp) for place in range(tp)]
                found = [_on_rank(question, folder, rank, read, arguments) for rank in ranks]
                stages.append(max(found, key=lambda one: one.get("bytes", 0)))
    except _REFUSALS as error:
        if stand_ins.NOT_CALLED in str(error):
            raise NotAskable(str(error)) from error
        return {"refused": {"type": type(error).__name__, "text": str(error)}}
    return {"stages": stages}


@contextlib.contextmanager
def _folder(question: dict[str, Any]) -> Iterator[str]:
    """The directory with the ``config.json``; one of its own where the question changes it."""
    if not question.get("change"):
        yield configs.folder(question["config"])
        return
    with tempfile.TemporaryDirectory(prefix="qcmatrix-config-") as folder:
        changed = {**configs.config(question["config"]), **question["change"]}
        Path(folder, "config.json").write_text(json.dumps(changed), encoding="utf-8")
        yield folder


@contextlib.contextmanager
def _partition(layers: list[int] | None) -> Iterator[None]:
    before = os.environ.pop(_PARTITION, None)
    if layers:
        os.environ[_PARTITION] = ",".join(map(str, layers))
    try:
        yield
    finally:
        os.environ.pop(_PARTITION, None)
        if before is not None:
            os.environ[_PARTITION] = before


def _on_rank(
    question: dict[str, Any],
    folder: str,
    rank: int,
    read: Callable[[Any, Any], dict[str, Any]],
    arguments: dict[str, Any],
) -> dict[str, Any]:
    from vllm.engine.arg_utils import EngineArgs

    given: dict[str, Any] = {
        "model": folder,
        "skip_tokenizer_init": True,
        "load_format": "dummy",
        "enforce_eager": True,
        "max_model_len": _LENGTH,
        "tensor_parallel_size": question.get("tp") or 1,
        "pipeline_parallel_size": question.get("pp") or 1,
        "data_parallel_size": question.get("dp") or 1,
        "enable_expert_parallel": bool(question.get("ep")),
        # as with all cards in one node; the number of nodes decides nothing about one rank
        "distributed_executor_backend": "mp",
        **arguments,
        **({"quantization": question["quantization"]} if question.get("quantization") else {}),
        **(question.get("arguments") or {}),
    }
    # a new one for each rank: building a model leaves traces in it
    vllm_config = EngineArgs(**given).create_engine_config()
    with groups.build_model(vllm_config, rank) as model:
        return read(model, vllm_config)


def _count(model: Any, *, modules: bool) -> dict[str, Any]:
    """Bytes of the parameters and of the buffers, each tensor once; by name with layer numbers folded when asked."""
    seen: set[int] = set()
    sizes = {"bytes": 0, "buffers": 0}
    by_name: dict[str, int] = defaultdict(int)
    for kind, tensors in (("bytes", model.named_parameters()), ("buffers", model.named_buffers())):
        for name, tensor in tensors:
            if id(tensor) in seen:
                continue
            seen.add(id(tensor))
            size = tensor.numel() * tensor.element_size()
            sizes[kind] += size
            if modules:
                folded = re.sub(r"[.][0-9]+[.]", ".*.", name)
                by_name[f"{kind}:{folded}:{str(tensor.dtype)[6:]}:{tuple(tensor.shape)}"] += size
    return {**sizes, "modules": dict(by_name)} if modules else dict(sizes)


HANDLERS = {"weights": answer_weights}
