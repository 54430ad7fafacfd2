"""Rule: flag-given-twice."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.launch.parsed import ProblemKind
from qcmatrix.rules.declare import Breach, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0", None),
    reads=("problems",),
    outcome=Outcome.REDUNDANT,
    sources=(
        RuleSource(
            "https://docs.python.org/3/library/argparse.html",
            "This action just stores the argument's value: a later one takes the place of an earlier one",
        ),
    ),
)
def flag_given_twice(deployment: Deployment) -> Verdict:
    """A flag stands twice, and only the last one counts

    What it finds
    The same option twice, under one or several of its names (`-tp` and `--tensor-parallel-size`).

    Why it fails
    The parser takes the last value and says nothing.

    What to do
    Leave the earlier one out.

    Not covered
    Options that may be repeated.
    """
    for problem in deployment.problems:
        if problem.kind is ProblemKind.REPEATED_FLAG:
            return Breach(because=problem.text, about=problem.words[:1])
    return None
