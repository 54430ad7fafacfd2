"""What is known of a server under test: one that we started for an entry, or one that somebody else runs."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.releases import load_release
from qcmatrix.errors import ExitCode, RequestError, UserError
from qcmatrix.exchange.wire import Wire, WireError
from qcmatrix.launch.parse import parse
from qcmatrix.launch.shell import split_shell
from qcmatrix.matrix.entries import CPU, Entry
from qcmatrix.suites.bench import Subject
from qcmatrix.suites.declare import Need

__all__ = ["NoServer", "Target", "subject_at", "subject_of", "target_of"]


class NoServer(UserError):
    """There is no vLLM at the address, or it cannot be asked."""

    exit_code = ExitCode.ENVIRONMENT


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A server that runs already."""

    root: str
    """Without ``/v1``."""
    api_key: str | None = None
    model: str | None = None
    """The served name; ``None``: the first that it lists."""


def target_of(url: str, api_key_env: str | None, model: str | None) -> Target:
    """The server at ``url`` (with ``/v1`` or without), its key in the variable ``api_key_env``.

    Raises:
        RequestError: that is no address, or the variable is not set.
    """
    if not url.startswith(("http://", "https://")):
        raise RequestError(f"--base-url {url!r} is no address", "write it as http://host:8000/v1")
    key = os.environ.get(api_key_env) if api_key_env else None
    if api_key_env and not key:
        raise RequestError(f"--api-key-env: the variable {api_key_env} is not set")
    return Target(root=url.rstrip("/").removesuffix("/v1"), api_key=key, model=model)


def subject_of(entry: Entry, server: Any, wire: Wire) -> Subject:
    """The server that was started for ``entry``.

    Raises:
        NoServer: it does not say what it serves.
    """
    told = subject_at(server.root, wire, has_key=server.api_key is not None)
    options = _options(entry)
    has = {Need.FORCING, Need.OWN_SERVER}
    if options.get("enable_auto_tool_choice"):
        has.add(Need.TOOLS)
    if entry.fleet != CPU:
        has.add(Need.GPU)
    if entry.weights == "real" and options.get("load_format") != "dummy":
        has.add(Need.TRAINED)
    if "yarn" in str(options.get("hf_overrides", "")) or "yarn" in str(options.get("rope_scaling", "")):
        has.add(Need.YARN)
    return Subject(
        root=server.root,
        model=told.model,
        release=told.release or entry.vllm,
        max_model_len=told.max_model_len,
        entry=entry,
        server=server,
        has=frozenset(has),
        has_key=server.api_key is not None,
        gpu=None if entry.fleet == CPU else _gpu(entry),
    )


def subject_at(root: str, wire: Wire, *, has_key: bool, model: str | None = None) -> Subject:
    """A server that runs already; what its launch was is not known, so nothing is taken for missing.

    Raises:
        NoServer: it does not answer as vLLM's server does.
    """
    try:
        models = wire.get("/v1/models", timeout=30.0)
        version = wire.get("/version", timeout=30.0)
    except WireError as error:
        raise NoServer(f"{root}: no server answers", str(error), "is the address right, with /v1 or without?") from None
    if models.status in (401, 403):
        raise NoServer(f"{root}: HTTP {models.status}: it wants an API key", "name its variable with --api-key-env")
    listed = models.json
    try:
        served = {each["id"]: each for each in listed["data"]}
    except (TypeError, KeyError):
        served = {}
    if models.status != 200 or not served:
        raise NoServer(
            f"{root}/v1/models: HTTP {models.status}, no list of models", "is it an OpenAI-compatible server?"
        )
    if model is not None and model not in served:
        raise NoServer(f"{root} does not serve {model!r}", f"it serves {', '.join(served)}")
    name = model or next(iter(served))
    said = version.json if version.status == 200 else None
    release = said.get("version") if isinstance(said, dict) else None
    length = served[name].get("max_model_len")
    return Subject(
        root=root,
        model=name,
        release=_public(release),
        max_model_len=length if isinstance(length, int) else None,
        has=frozenset({Need.FORCING, Need.TOOLS, Need.TRAINED, Need.GPU}),
        has_key=has_key,
    )


def _public(release: object) -> str | None:
    """``0.32.0`` of ``0.32.0+cpu``; ``None`` for what is no version."""
    from packaging.version import InvalidVersion, Version

    try:
        return Version(str(release)).public if release else None
    except InvalidVersion:
        return None


def _options(entry: Entry) -> dict[str, Any]:
    command = split_shell(entry.command)
    return dict(parse(command.argv, load_release(entry.vllm), env=command.env).launch.options)


def _gpu(entry: Entry) -> str | None:
    names = {fleet.gpu.name for fleet in parse_fleet(entry.fleet)}
    return names.pop() if len(names) == 1 else None
