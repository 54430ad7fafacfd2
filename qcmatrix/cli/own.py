"""``--vllm-python``: what is imported only where it is given."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qcmatrix.answers.schema import AskedAnswer
from qcmatrix.assess import Assessment
from qcmatrix.catalogue.fleets import Fleet
from qcmatrix.catalogue.models import ResolvedCheckpoint
from qcmatrix.planner.plan import Plan

if TYPE_CHECKING:
    from qcmatrix.answers.check import AskLaunch
    from qcmatrix.answers.suggest import Ask
    from qcmatrix.probe.own import OwnVllm

__all__ = ["asker_of", "open_own", "plan_asker_of"]


def open_own(stack: contextlib.ExitStack, python: Path | None, counts_as: str | None) -> OwnVllm | None:
    """The vLLM of ``--vllm-python``, closed with ``stack``; ``None`` where the option is not given.

    Raises:
        UserError: there is no vLLM that can be asked.
    """
    if python is None:
        return None
    from qcmatrix.probe.own import OwnVllm

    own = stack.enter_context(OwnVllm(python, counts_as=counts_as))
    click.echo(f"asking your vLLM {own.release} in {python}", err=True)
    for note in own.notes:
        click.echo(f"note: {note}", err=True)
    return own


def asker_of(own: OwnVllm, words: Sequence[str], env: Mapping[str, str]) -> AskLaunch:
    """Asks ``own`` about the command ``words``."""
    from qcmatrix.probe.own_answers import ask_own

    def ask(assessment: Assessment, checkpoint: ResolvedCheckpoint, fleet: Fleet) -> AskedAnswer:
        return ask_own(own, words, assessment, checkpoint, fleet, env)

    return ask


def plan_asker_of(own: OwnVllm) -> Ask:
    """Asks ``own`` about the command of a plan, as it would be printed."""
    from qcmatrix.launch.render import render
    from qcmatrix.probe.own_answers import ask_own

    def ask(plan: Plan) -> AskedAnswer:
        request = plan.request
        launch = plan.assessment.launch
        return ask_own(
            own, render(launch, request.release), plan.assessment, request.checkpoint, request.fleet, launch.env
        )

    return ask
