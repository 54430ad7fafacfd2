"""Rule: a flag that no release has."""

from __future__ import annotations

import difflib
import re
from functools import lru_cache

from qcmatrix.catalogue.releases import Release, flag_history
from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range

_OPTION = re.compile(r"--?[A-Za-z]")


@lru_cache(maxsize=4096)  # asked for every card and model that stands in for an unknown one
def _closest(name: str, release: Release) -> tuple[str, ...]:
    return tuple(difflib.get_close_matches(name, release.flag_by_name, n=1))


@rule(
    holds=Range("0.10.0"),
    reads=("release", "unknown"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://docs.python.org/3/library/argparse.html",
            "error: unrecognized arguments",
        ),
    ),
)
def unknown_flag(deployment: Deployment) -> Verdict:
    """A flag that no release of vLLM has

    What it finds
    A word that looks like a flag and is none of `vllm serve` in any release from 0.10.0 on: a typing mistake, or a
    flag of another server.

    Why it fails
    The argument parser does not know the word and stops: "unrecognized arguments".

    What to do
    The closest flag of this release, which the finding names, or leave it out.

    Not covered
    Flags of plugins, which add their own.
    """
    words = deployment.unknown
    for place, word in enumerate(words):
        if not _OPTION.match(word) or " " in word.partition("=")[0]:
            continue  # argparse takes a word with a blank in it for no option
        name = word.partition("=")[0].partition(".")[0].replace("_", "-")
        if flag_history(name) and name != "-O":  # no optimization level, or `-O` would not be left over
            continue
        stop = place + 1
        while "=" not in word and stop < len(words) and not words[stop].startswith("-"):
            stop += 1
        close = list(_closest(name, deployment.release))
        meant = f"; did you mean {close[0]}?" if close else ""
        because = f"no release of vLLM from 0.10.0 on has {name}{meant}"
        if name == "-O":
            because, close = f"vLLM {deployment.release} reads -O only before a level from 0 to 3", []
        return Breach(
            because=because,
            about=(name,),
            fixes=(Fix(f"write `{close[0]}`" if close else "leave it out", drop_words=words[place:stop]),),
            error=f"unrecognized arguments: {' '.join(words[place:stop])}",
        )
    return None
