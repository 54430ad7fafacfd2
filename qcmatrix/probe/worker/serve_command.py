"""The release's own ``vllm serve``, up to where it would start engines: parser, validation, dispatch.

Nothing is copied from it: the command's functions that start servers are replaced by ones that hand back what they were
given, everything before them runs as it is.
"""

from __future__ import annotations

import argparse
import copy
import functools
import importlib
from typing import Any, NoReturn

from qcmatrix_worker import groups

__all__ = [
    "ParseError",
    "Refused",
    "dispatch",
    "documented_parser",
    "forget_parsers",
    "parse",
    "serve_parser",
    "validate_server",
]


class ParseError(Exception):
    """argparse's words; the real command prints them with its usage and exits with status 2."""


class Refused(Exception):
    """The command ended itself (``SystemExit``)."""


def _modules(*names: str) -> Any:
    """The first module that the release has."""
    for name in names[:-1]:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise  # it is there, and something that it needs is not
    return importlib.import_module(names[-1])


def flexible_parser() -> Any:
    """``FlexibleArgumentParser``, which moved out of ``vllm.utils`` in 0.11.1."""
    return _modules("vllm.utils.argparse_utils", "vllm.utils").FlexibleArgumentParser


@functools.cache
def _command() -> tuple[Any, Any, Any]:
    """What :func:`_make` makes, once."""
    return _make()


def forget_parsers() -> None:
    """Make them anew when they are next wanted: their defaults are instances that may have read the environment."""
    _command.cache_clear()


def _make() -> tuple[Any, Any, Any]:
    """The ``serve`` subcommand, the parser of ``vllm`` and the one of ``vllm serve``, as ``cli/main.py`` makes them."""
    groups.ready()
    module = importlib.import_module("vllm.entrypoints.cli.serve")
    (command,) = (found for found in module.cmd_init() if found.name == "serve")
    main = flexible_parser()(description="vLLM CLI", prog="vllm")
    serve = command.subparser_init(main.add_subparsers(required=False, dest="subparser"))
    for parser in (main, serve):
        parser.error = _error
    return command, main, serve


def _error(message: str) -> NoReturn:
    raise ParseError(message)


def serve_parser() -> Any:
    """The parser of ``vllm serve``."""
    return _command()[2]


def documented_parser() -> Any:
    """Another parser of ``vllm serve``, with all help texts: newer releases read them only where help is asked for."""
    arg_utils: Any = importlib.import_module("vllm.engine.arg_utils")
    if getattr(arg_utils, "NEEDS_HELP", True):
        return _make()[2]
    arg_utils.NEEDS_HELP = True
    arg_utils._compute_kwargs.cache_clear()
    try:
        return _make()[2]
    finally:
        arg_utils.NEEDS_HELP = False
        arg_utils._compute_kwargs.cache_clear()


def parse(argv: list[str]) -> argparse.Namespace:
    """What the command line says.

    Raises:
        ParseError: argparse refuses it.
        Refused: it asks for help or a version.
    """
    _, main, _ = _command()
    try:
        parsed = main.parse_args(["serve", *argv])
    except SystemExit as error:
        raise Refused(f"exit status {error.code}") from error
    # argparse hands out its default objects themselves, and validation writes into some of them
    copied: argparse.Namespace = copy.deepcopy(parsed)
    return copied


def dispatch(args: argparse.Namespace) -> str:
    """Run the command up to where it would start something: ``run_server``, ``run_headless`` ...

    Raises:
        Exception: whatever the command raises.
    """
    command, _, _ = _command()
    command.validate(args)
    module = importlib.import_module("vllm.entrypoints.cli.serve")
    started: list[str] = []

    class Loop:
        @staticmethod
        def run(coroutine: Any) -> None:
            """``uvloop.run``: what it would wait for is nothing here."""

    names = [name for name in vars(module) if name.startswith("run_")]
    before = {name: getattr(module, name) for name in (*names, "uvloop") if hasattr(module, name)}
    try:
        for name in names:
            setattr(module, name, functools.partial(lambda name, *_, **__: started.append(name), name))
        module.uvloop = Loop  # type: ignore[attr-defined]
        command.cmd(args)
    finally:
        for name, value in before.items():
            setattr(module, name, value)
    return started[0] if started else ""


@functools.cache
def _validate() -> Any:
    return _modules(
        "vllm.entrypoints.launchers.launcher", "vllm.entrypoints.openai.api_server"
    ).validate_api_server_args


def validate_server(args: argparse.Namespace) -> None:
    """What the server checks before it makes an engine: the tool parser and the reasoning parser exist.

    Raises:
        KeyError: one does not.
    """
    _validate()(args)
