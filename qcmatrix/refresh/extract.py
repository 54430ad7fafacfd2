"""One release's source tree -> its catalogue file."""

from __future__ import annotations

import datetime

import msgspec

from qcmatrix.catalogue.releases import Flag, ReleaseFile
from qcmatrix.refresh.flags import read_flags
from qcmatrix.refresh.surface import (
    read_cudagraph_estimated,
    read_environment,
    read_parsers,
    read_quantization_methods,
    read_scheduler,
)
from qcmatrix.refresh.tree import ExtractionError, SourceTree

__all__ = ["extract"]

_TOOL_PACKAGES = ("vllm.tool_parsers", "vllm.entrypoints.openai.tool_parsers")
_REASONING_PACKAGES = ("vllm.reasoning",)


def extract(tree: SourceTree, *, version: str, date: datetime.date, source: str) -> ReleaseFile:
    """The surface of one release.

    ``date`` is the day of upload to PyPI, ``source`` names the archive. ``extracted`` is today.

    Raises:
        ExtractionError: the source is not as the extractor knows it.
    """
    tools = read_parsers(tree, "ToolParserManager", _TOOL_PACKAGES, "_TOOL_PARSERS_TO_REGISTER")
    reasoning = read_parsers(tree, "ReasoningParserManager", _REASONING_PACKAGES, "_REASONING_PARSERS_TO_REGISTER")
    known = {
        "tool_call_parser": tuple(tools),
        "reasoning_parser": tuple(reasoning),
        "quantization": read_quantization_methods(tree),
    }
    flags = tuple(_named(flag, known) for flag in read_flags(tree, list(tools), list(reasoning)))
    environment = read_environment(tree)
    utilization = next((flag.default for flag in flags if flag.dest == "gpu_memory_utilization"), None)
    if not isinstance(utilization, float):
        raise ExtractionError(f"{tree.root}: --gpu-memory-utilization states no default")
    return ReleaseFile(
        version=version,
        date=date,
        source=source,
        extracted=datetime.date.today(),
        flags=flags,
        environment=environment,
        tool_parsers=tools,
        reasoning_parsers=reasoning,
        scheduler=read_scheduler(tree),
        gpu_memory_utilization=utilization,
        cudagraph_estimated=read_cudagraph_estimated(tree, environment),
    )


def _named(flag: Flag, known: dict[str, tuple[str, ...]]) -> Flag:
    """Values that argparse does not check but the release knows by name."""
    if flag.choices or flag.known or flag.dest not in known:
        return flag
    return msgspec.structs.replace(flag, known=known[flag.dest])
