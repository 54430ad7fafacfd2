"""Options that several commands share, with their shell completion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

__all__ = ["gpus_option", "json_option", "model_option", "vllm_option", "vllm_python_option"]

_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _complete(names: Callable[[], tuple[str, ...]]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    def complete(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
        return [name for name in names() if name.lower().startswith(incomplete.lower())]

    return complete


def _gpus() -> tuple[str, ...]:
    from qcmatrix.catalogue.gpus import gpu_names

    return tuple(f"{count}x{name}" for name in gpu_names() for count in (1, 2, 4, 8))


def _models() -> tuple[str, ...]:
    from qcmatrix.catalogue.models import all_checkpoints

    return tuple(each.checkpoint.short for each in all_checkpoints())


def _releases() -> tuple[str, ...]:
    from qcmatrix.catalogue.releases import release_names

    return release_names()


def gpus_option(*, required: bool = True) -> _Decorator:
    """``--gpus 8xH20``."""
    return click.option(
        "--gpus",
        required=required,
        metavar="FLEET",
        shell_complete=_complete(_gpus),
        help="What you have: 8xH200, 8xH20-141, 2x8xH100 (nodes x GPUs x card), 8x44.4GiB (a card that is not listed).",
    )


def model_option(*, multiple: bool) -> _Decorator:
    """``--model 480b-fp8``."""
    return click.option(
        "--model",
        "models" if multiple else "model",
        multiple=multiple,
        metavar="MODEL",
        shell_complete=_complete(_models),
        help="A short name (480b-fp8), a repository, or a directory or config.json of any other checkpoint.",
    )


def vllm_option() -> _Decorator:
    """``--vllm 0.33.0``."""
    return click.option(
        "--vllm",
        metavar="RELEASE",
        shell_complete=_complete(_releases),
        help="The vLLM release; the newest in the catalogue when left out.",
    )


def vllm_python_option() -> _Decorator:
    """``--vllm-python venv/bin/python``."""
    return click.option(
        "--vllm-python",
        metavar="PYTHON",
        type=click.Path(path_type=Path),
        help="The Python of your vLLM (a fork, a nightly): it is asked itself. --vllm: as which release it counts.",
    )


def json_option() -> _Decorator:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON (its schema: `qcmatrix schema`).")
