"""The model configs that questions name: remembered, and as directories that vLLM can be pointed at."""

from __future__ import annotations

import atexit
import copy
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["HANDLERS", "config", "folder"]

_CONFIGS: dict[str, dict[str, Any]] = {}
_FOLDERS: dict[str, Path] = {}


def remember(question: dict[str, Any]) -> dict[str, Any]:
    """``{"configs": {NAME: config.json}}``: from now on questions may name them."""
    for name, given in question["configs"].items():
        known = _per_layer(given)
        if _CONFIGS.get(name) != known and name in _FOLDERS:
            shutil.rmtree(_FOLDERS.pop(name), ignore_errors=True)
        _CONFIGS[name] = known
    return {}


def config(name: str) -> dict[str, Any]:
    """A copy of the config that was sent under ``name``."""
    if name not in _CONFIGS:
        raise KeyError(f"no config named {name!r} was sent")
    return copy.deepcopy(_CONFIGS[name])


def folder(name: str) -> str:
    """A directory that holds only the ``config.json`` of ``name``; the same one every time."""
    if name not in _FOLDERS:
        text = json.dumps(config(name))
        path = Path(tempfile.mkdtemp(prefix="qcmatrix-config-"))
        atexit.register(shutil.rmtree, path, ignore_errors=True)
        (path / "config.json").write_text(text, encoding="utf-8")
        _FOLDERS[name] = path
    return str(_FOLDERS[name])


def _per_layer(given: dict[str, Any]) -> dict[str, Any]:
    """In lists of a ``quantization_config`` a text with ``{layer}`` stands for one text per layer."""
    quantization = given.get("quantization_config")
    if not isinstance(quantization, dict):
        return given
    layers = given.get("num_hidden_layers") or given.get("text_config", {}).get("num_hidden_layers") or 0
    spelt = {
        key: [
            text
            for item in value
            for text in (
                [item.replace("{layer}", str(layer)) for layer in range(layers)]
                if isinstance(item, str) and "{layer}" in item
                else [item]
            )
        ]
        if isinstance(value, list)
        else value
        for key, value in quantization.items()
    }
    return {**given, "quantization_config": spelt}


HANDLERS = {"configs": remember}
