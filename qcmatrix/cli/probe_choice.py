"""What ``qcmatrix probe`` was asked for: releases, rules and parts by name; and its shelf of environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click
import msgspec

from qcmatrix.answers.probe_schema import EnvironmentAnswer
from qcmatrix.catalogue.releases import Release, load_release, newest_release, release_names
from qcmatrix.cli.probe_text import environment_lines
from qcmatrix.errors import CatalogueError, ExitCode, RequestError
from qcmatrix.versions import parse_version

if TYPE_CHECKING:
    from qcmatrix.rules.declare import Rule

__all__ = ["chosen_parts", "chosen_releases", "chosen_rules", "shelf"]


def chosen_releases(text: str) -> tuple[Release, ...]:
    """The listed releases that ``--vllm`` names, oldest first.

    Raises:
        CatalogueError: one is not in the catalogue, or a range holds none.
        RequestError: one is not a version.
    """
    names: set[str] = set()
    for word in (word.strip() for word in text.split(",")):
        if word == "all":
            names.update(release_names())
        elif word == "latest":
            names.add(newest_release())
        elif ".." in word:
            low, _, high = word.partition("..")
            first, last = parse_version(low), parse_version(high)
            held = [name for name in release_names() if first <= parse_version(name) <= last]
            if not held:
                raise CatalogueError(f"no release of the catalogue is in {word}", "`qcmatrix releases` lists them")
            names.update(held)
        else:
            release = load_release(word)
            if not release.is_listed:
                raise CatalogueError(
                    f"vLLM {release} is not in the catalogue (the nearest is {release.surface_of})",
                    "`qcmatrix releases` lists them; another build is asked with `--python path/to/venv/bin/python`",
                )
            names.add(release.name)
    return tuple(load_release(name) for name in sorted(names, key=parse_version))


def chosen_rules(ids: Sequence[str]) -> Mapping[str, Rule] | None:
    """The rules that ``--rule`` names; ``None``: all.

    Raises:
        CatalogueError: there is none of that name.
    """
    if not ids:
        return None
    from qcmatrix.rules import find_rule
    from qcmatrix.rules.cases import case_file

    found = {rule.id: rule for rule in map(find_rule, ids)}
    for rule_id in found:
        reason = case_file(rule_id).not_askable
        if reason:
            click.echo(f"note: {rule_id} cannot be asked without a GPU: {reason}", err=True)
    return found


def chosen_parts(only: str | None, rule_ids: Sequence[str]) -> tuple[str, ...] | None:
    """The parts that ``--only`` and ``--rule`` name; ``None``: all.

    Raises:
        RequestError: there is none of that name, or the two contradict each other.
    """
    from qcmatrix.probe.run import available_parts

    if rule_ids:
        if only not in (None, "rules"):
            raise RequestError("--rule asks rules, and --only names other parts", "leave one of them out")
        return ("rules",)
    if only is None:
        return None
    known = available_parts()
    wanted = tuple(word.strip() for word in only.split(",") if word.strip())
    for word in wanted:
        if word not in known:
            raise RequestError(f"there is no part {word!r}", f"the parts are {', '.join(known)}")
    return wanted


def shelf(remove: str | None, as_json: bool) -> int:
    """``--environments`` and ``--remove``; the exit code.

    Raises:
        CatalogueError: there is nothing of that name to remove.
        RequestError: that is not a version.
    """
    from qcmatrix.probe.environments import environments
    from qcmatrix.probe.environments import remove as remove_environments
    from qcmatrix.probe.environments.shelf import environments_directory

    if remove is None:
        found = environments()
    elif remove.strip() == "all":
        found = remove_environments()
    else:
        found = tuple(each for name in _names(remove) for each in remove_environments(name))
        if not found:
            raise CatalogueError(
                f"there is no environment of vLLM {remove}", "`qcmatrix probe --environments` lists them"
            )
    answers = [
        EnvironmentAnswer(
            release=each.release,
            kind=each.kind,
            interpreter=each.interpreter,
            torch=each.packages.get("torch", ""),
            transformers=each.packages.get("transformers", ""),
            made=each.made,
            seconds=each.seconds,
            bytes=each.bytes,
            path=str(each.path),
        )
        for each in found
    ]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(answers), indent=2))
        return int(ExitCode.OK)
    if remove is not None:
        for each in answers:
            click.echo(f"removed: vLLM {each.release} ({each.bytes / 2**30:.1f} GiB)")
        return int(ExitCode.OK)
    for line in environment_lines(answers, str(environments_directory())):
        click.echo(line)
    return int(ExitCode.OK)


def _names(text: str) -> tuple[str, ...]:
    """Names of releases that have an environment and that ``text`` names: also such as the catalogue does not list."""
    from qcmatrix.probe.environments import environments

    there = {each.release for each in environments()}
    names: set[str] = set()
    for word in (word.strip() for word in text.split(",")):
        if ".." in word:
            low, _, high = word.partition("..")
            names |= {name for name in there if parse_version(low) <= parse_version(name) <= parse_version(high)}
        else:
            names.add(newest_release() if word == "latest" else str(parse_version(word)))
    return tuple(sorted(names, key=parse_version))
