"""``qcmatrix probe``: real vLLM releases, asked on a machine without a GPU."""

from __future__ import annotations

import contextlib
import gc
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from qcmatrix.answers.probe_schema import (
    PROBE_SCHEMA,
    GradedAnswer,
    PartAnswer,
    ProbeAnswer,
    ProbedRelease,
    ProblemAnswer,
)
from qcmatrix.cli.options import json_option
from qcmatrix.cli.probe_choice import chosen_parts, chosen_releases, chosen_rules, shelf
from qcmatrix.cli.probe_text import release_lines, total_lines
from qcmatrix.cli.steps import steps
from qcmatrix.errors import ExitCode, RequestError, UserError
from qcmatrix.versions import parse_version

if TYPE_CHECKING:
    from qcmatrix.catalogue.releases import Release
    from qcmatrix.probe.graded import Graded
    from qcmatrix.probe.run import Answered
    from qcmatrix.probe.session import Session
    from qcmatrix.rules.declare import Rule

__all__ = ["probe_command"]

_BAD = ("disagree", "failed")


@click.command("probe")
@click.option(
    "--vllm",
    metavar="RELEASES",
    help="0.32.0, a list 0.28.0,0.29.0, a range 0.10.0..0.33.0 (both ends included), `latest` or `all`.",
)
@click.option(
    "--python",
    metavar="PYTHON",
    type=click.Path(path_type=Path),
    help="The Python of an environment whose vLLM is asked: a fork, a nightly. --vllm says as which release it counts.",
)
@click.option(
    "--new",
    metavar="RELEASE",
    help="One that has just come out, or `latest`: into the catalogue of this checkout, asked, compared with the last.",
)
@click.option("--rule", "rule_ids", metavar="ID", multiple=True, help="Only the cases of this rule; can be repeated.")
@click.option("--only", metavar="PARTS", help="Only these parts: surface,rules ...")
@click.option("--draws", metavar="COUNT", type=click.IntRange(min=1), help="How many launches the part `draws` draws.")
@click.option("--seed", type=int, help="What the part `draws` draws by.")
@click.option("--again", is_flag=True, help="Ask also what is answered already.")
@click.option("--write", is_flag=True, help="Write the evidence into this qcmatrix, not into your data directory.")
@click.option("--environments", "list_them", is_flag=True, help="List the environments that there are, and stop.")
@click.option("--remove", metavar="RELEASES", help="Remove the environments of these releases, or `all`, and stop.")
@json_option()
def probe_command(
    vllm: str | None,
    python: Path | None,
    new: str | None,
    rule_ids: tuple[str, ...],
    only: str | None,
    draws: int | None,
    seed: int | None,
    again: bool,
    write: bool,
    list_them: bool,
    remove: str | None,
    as_json: bool,
) -> int:
    """Ask real vLLM releases whether what qcmatrix says is true. Needs no GPU.

    Each release gets an environment of its own in your cache directory (2 to 3 GiB, made with uv from the CPU builds),
    is asked there, and what it answered is kept as evidence. A run that is interrupted goes on where it was.
    """
    gc.enable()  # this is no quarter of a second
    if list_them or remove is not None:
        return shelf(remove, as_json)
    if new is not None:
        if vllm or python or rule_ids or only or draws or seed is not None or again or write:
            raise RequestError("--new asks everything of one release", "leave the other options out")
        from qcmatrix.cli.arrive import run_new

        with _interruptible():
            return int(run_new(new, as_json=as_json))
    from qcmatrix.probe.environments.directories import data_directory

    wanted = chosen_releases(vllm) if vllm and python is None else ()
    if not wanted and python is None:
        raise RequestError("which vLLM?", "name releases with --vllm, or an environment with --python")
    if python is not None and vllm is not None:
        parse_version(vllm)
    rules = chosen_rules(rule_ids)
    parts = chosen_parts(only, rule_ids)
    if write:
        from qcmatrix.evidence.store import PACKAGED as DIRECTORY
    else:
        DIRECTORY = data_directory() / "evidence"  # noqa: N806
    asker = _Asker(
        directory=DIRECTORY,
        parts=parts,
        rules=rules,
        options={
            **({} if draws is None else {"count": draws}),
            **({} if seed is None else {"seed": seed}),
        },
        again=again,
        quiet=as_json,
    )
    with _interruptible():
        if python is not None:
            asker.own(python, vllm)
        for release in wanted:
            asker.listed(release)
    return asker.end()


class _Asker:
    """Asks one vLLM after the other and prints what came of each."""

    def __init__(
        self,
        *,
        directory: Path,
        parts: tuple[str, ...] | None,
        rules: Mapping[str, Rule] | None,
        options: Mapping[str, Any],
        again: bool,
        quiet: bool,
    ) -> None:
        self._directory = directory
        self._parts = parts
        self._rules = rules
        self._options = options
        self._again = again
        self._quiet = quiet
        self._done: list[ProbedRelease] = []
        self._problems: list[ProblemAnswer] = []

    def listed(self, release: Release) -> None:
        """Ask a release of the catalogue, in an environment that is made where there is none."""
        from qcmatrix.probe.environments import EnvironmentProblem, ensure
        from qcmatrix.probe.session import Session, SessionError

        answered: list[Answered] = []
        about = ("?", "?", "?")
        try:
            with steps(f"vLLM {release}") as step:
                environment = ensure(release.name, step)
                found = environment.packages
                about = (found["torch"], found["transformers"], environment.interpreter.rpartition("-")[2])
                session = Session(environment.python)  # starts when there is something to ask
                with contextlib.closing(session):
                    self._ask(session, release, environment.name, answered, step)
        except (EnvironmentProblem, SessionError) as problem:
            self._complain(release.name, problem)
        finally:
            if answered:
                self._tell(release, about, answered, ())

    def own(self, python: Path, counts_as: str | None) -> None:
        """Ask the vLLM of an environment of the user's own; all of it anew, since it may have changed."""
        from qcmatrix.probe.own import OwnVllm

        answered: list[Answered] = []
        with steps(str(python)) as step:
            step("importing vLLM")
            own = OwnVllm(python, counts_as=counts_as)
            with own:
                self._ask(own.session, own.release, None, answered, step)
                hello = own.session.hello
                self._tell(own.release, (hello.torch, hello.transformers, hello.python), answered, own.notes)

    def _ask(
        self, session: Session, release: Release, environment: str | None, answered: list[Answered], step: Any
    ) -> None:
        from qcmatrix.probe.run import probe

        for each in probe(
            session,
            release,
            directory=self._directory,
            parts=self._parts,
            rules=self._rules,
            options=self._options,
            environment=environment,
            again=self._again,
            progress=step,
        ):
            answered.append(each)
            step(f"{each.part}: done")

    def _tell(
        self, release: Release, about: tuple[str, str, str], answered: Sequence[Answered], notes: Iterable[str]
    ) -> None:
        """``about`` is the versions of torch, Transformers and Python."""
        parts, graded = [], []
        for each in answered:
            judged = self._judged(each, release)
            parts.append(_part(each, judged))
            graded += [
                _graded(each.part, one) for one in judged or () if self._rules is not None or one.mark.value in _BAD
            ]
        probed = ProbedRelease(
            release=release.name,
            torch=about[0],
            transformers=about[1],
            python=about[2],
            parts=tuple(parts),
            graded=tuple(graded),
            notes=tuple(notes),
        )
        self._done.append(probed)
        if not self._quiet:
            for line in release_lines(probed, cases=self._rules is not None):
                click.echo(line)
            click.echo("")

    def _judged(self, answered: Answered, release: Release) -> tuple[Graded, ...] | None:
        from qcmatrix.probe.tally import graded, rules_graded

        if answered.part == "rules" and self._rules is not None:
            return tuple(rules_graded(answered.records, release, self._rules))
        return graded(answered.part, answered.records, release)

    def _complain(self, name: str, problem: UserError) -> None:
        self._problems.append(ProblemAnswer(name, problem.what, problem.notes))
        click.echo(f"{click.style('error', fg='red', bold=True)}: {problem.what}", err=True)
        for note in problem.notes:
            click.echo(f"  = {note}", err=True)

    def end(self) -> int:
        """The last lines, and the exit code: what could not be asked weighs more than what disagrees."""
        answer = ProbeAnswer(
            schema=PROBE_SCHEMA,
            directory=str(self._directory),
            releases=tuple(self._done),
            problems=tuple(self._problems),
        )
        if self._quiet:
            click.echo(msgspec.json.format(msgspec.json.encode(answer), indent=2))
        else:
            for line in total_lines(answer, cases=self._rules is not None):
                click.echo(line)
            click.echo(f"evidence: {self._directory}", err=True)
        if self._problems:
            return int(ExitCode.ENVIRONMENT)
        if self._rules is None:
            disagree = any(part.disagree or part.failed for probed in self._done for part in probed.parts)
        else:
            disagree = any(each.mark in _BAD for probed in self._done for each in probed.graded)
        return int(ExitCode.FINDINGS if disagree else ExitCode.OK)


def _part(each: Answered, judged: Sequence[Graded] | None) -> PartAnswer:
    def count(mark: str) -> int | None:
        return None if judged is None else sum(one.count for one in judged if one.mark.value == mark)

    return PartAnswer(
        part=each.part,
        answers=len(each.records),
        agree=count("agree"),
        disagree=count("disagree"),
        explained=count("explained"),
        not_askable=count("not askable"),
        failed=count("failed"),
        new=len(each.appended.new),
        changed=len(each.appended.changed),
        seconds=each.seconds,
        skipped=each.skipped,
    )


def _graded(part: str, one: Graded) -> GradedAnswer:
    return GradedAnswer(
        part=part,
        subject=one.subject,
        mark=one.mark.value,
        count=one.count,
        question=one.question,
        ours=one.ours,
        said=one.said,
        why=one.why,
    )


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C, and being told to end, go the same way: all is cleaned up, and the next run goes on from there."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        click.echo(
            "interrupted: what was answered is kept, nothing half-made is left; the same command goes on from there",
            err=True,
        )
        raise click.Abort from None
    finally:
        signal.signal(signal.SIGTERM, before)
