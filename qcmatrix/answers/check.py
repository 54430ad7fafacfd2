"""The answer to ``qcmatrix check`` for one command."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from qcmatrix.answers.build import launch_answer
from qcmatrix.answers.schema import AskedAnswer, LaunchAnswer
from qcmatrix.assess import Assessment, Assessor
from qcmatrix.catalogue.fleets import Fleet
from qcmatrix.catalogue.models import ResolvedCheckpoint, resolve_model
from qcmatrix.catalogue.releases import Release, load_release, newest_release
from qcmatrix.errors import CatalogueError, RequestError
from qcmatrix.fixes import judged_fixes
from qcmatrix.launch.parse import parse
from qcmatrix.launch.parsed import Parsed
from qcmatrix.launch.secrets import secret_values

__all__ = ["AskLaunch", "Checked", "check"]

AskLaunch = Callable[[Assessment, ResolvedCheckpoint, Fleet], AskedAnswer]
"""Asks the vLLM that will run the command what it makes of it."""


class Checked(msgspec.Struct, frozen=True):
    """One command on one fleet: its words, what was found, and the published form."""

    words: tuple[str, ...]
    parsed: Parsed
    assessment: Assessment
    answer: LaunchAnswer


def check(
    words: Sequence[str],
    *,
    release: Release | None,
    fleets: Sequence[Fleet],
    checkpoint: ResolvedCheckpoint | None = None,
    env: Mapping[str, str] | None = None,
    ask: AskLaunch | None = None,
) -> tuple[Checked, ...]:
    """What ``words`` will do on each fleet.

    ``checkpoint`` overrules the facts of the model that the command names (a path of weights that the catalogue cannot
    know). ``release`` is the newest, or the one that the command's image tag names, when ``None``. ``env`` is set
    outside of the words. ``ask`` is asked about the command as well, and its answer stands beside ours.

    Raises:
        RequestError: the command names no model.
        CatalogueError: the model is not in the catalogue, nor a local directory.
    """
    known = release or load_release(newest_release())
    parsed = parse(words, known, env=env)
    if release is None and parsed.release_hint is not None:
        known = load_release(parsed.release_hint)
        parsed = parse(words, known, env=env)
    if not parsed.launch.model and checkpoint is None:
        raise RequestError(
            "the command names no model", "write it as `vllm serve MODEL ...`, or give its facts with --model"
        )
    try:
        facts = checkpoint or resolve_model(parsed.launch.model)
    except CatalogueError as error:
        note = "or tell whose weights they are: `check --model 480b-fp8 ...`"
        raise CatalogueError(error.what, *error.notes, note) from None
    checked = []
    for fleet in fleets:
        assessor = Assessor(known, fleet, facts)
        assessment = assessor.assess(parsed.launch, parsed.problems)
        asked = None if ask is None else ask(assessment, facts, fleet)
        answer = launch_answer(assessment, judged_fixes(assessor, assessment), secret_values(words), asked)
        checked.append(Checked(tuple(words), parsed, assessment, answer))
    return tuple(checked)
