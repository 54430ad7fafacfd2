"""What a client has to know of the server that an entry of the matrix starts."""

from __future__ import annotations

import msgspec

from qcmatrix.answers.check import check
from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.releases import load_release
from qcmatrix.errors import RequestError
from qcmatrix.launch.parse import parse
from qcmatrix.launch.shell import split_shell
from qcmatrix.matrix.entries import CPU, Entry
from qcmatrix.matrix.validate import named_facts

__all__ = ["Served", "served_by"]


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A server as its clients see it."""

    name: str
    """The first served name."""
    base_url: str
    """On this machine."""
    context: int
    """``max_model_len``, tokens."""
    tools: bool
    """Does it take ``tool_choice`` auto?"""
    wants_key: bool


def served_by(entry: Entry) -> Served:
    """What ``entry`` serves.

    Raises:
        RequestError: it is expected not to start, or nothing says how long its context is.
    """
    if not entry.serves:
        raise RequestError(
            f"{entry.id} is expected not to start ({entry.expect.verdict})", "a client has nothing to ask"
        )
    command = split_shell(entry.command)
    release = load_release(entry.vllm)
    parsed = parse(command.argv, release, env=command.env)
    options = parsed.launch.options
    context = options.get("max_model_len")
    if not isinstance(context, int) or context < 1:
        if entry.fleet == CPU:
            raise RequestError(
                f"{entry.id}: nothing says how long its context is", "add --max-model-len to its command"
            )
        facts = named_facts(entry, parsed.launch.model)
        (checked, *_) = check(
            command.argv, release=release, fleets=parse_fleet(entry.fleet), checkpoint=facts, env=command.env
        )
        context = checked.assessment.deployment.context
    scheme = "https" if options.get("ssl_certfile") else "http"
    return Served(
        name=next(iter(parsed.launch.served_names), ""),
        base_url=f"{scheme}://localhost:{parsed.launch.port}/v1",
        context=context,
        tools=bool(options.get("enable_auto_tool_choice")),
        wants_key=bool(options.get("api_key")) or "VLLM_API_KEY" in command.env,
    )
