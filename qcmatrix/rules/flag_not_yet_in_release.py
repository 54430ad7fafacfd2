"""Rule: a flag that only a later release has."""

from __future__ import annotations

import re

from qcmatrix.catalogue.releases import flag_history
from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range, parse_version

_OPTION = re.compile(r"--?[A-Za-z]")


@rule(
    holds=Range("0.10.0"),
    reads=("release", "unknown"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.2/vllm/engine/arg_utils.py",
            '"--kv-cache-memory-bytes", **cache_kwargs["kv_cache_memory_bytes"]',
            Level.DERIVED,
        ),
        RuleSource(
            "https://docs.python.org/3/library/argparse.html",
            "error: unrecognized arguments",
        ),
    ),
)
def flag_not_yet_in_release(deployment: Deployment) -> Verdict:
    """A flag that only a later release has

    What it finds
    A flag of `vllm serve` that came with a later release than this one. The history is extracted from the source of
    every release.

    Why it fails
    The argument parser does not know the word and stops: "unrecognized arguments". It happens when a recipe for the
    newest vLLM meets an image that is older.

    What to do
    Upgrade to the release that brought it, or leave it out.

    Not covered
    Flags that were there, left, and came back are judged by their last stretch.
    """
    version = deployment.release.version
    words = deployment.unknown
    for place, word in enumerate(words):
        if not _OPTION.match(word):
            continue
        name = word.partition("=")[0].partition(".")[0].replace("_", "-")
        history = flag_history(name)
        if not history or history[0].low is None or version >= parse_version(history[0].low):
            continue
        stop = place + 1
        while "=" not in word and stop < len(words) and not words[stop].startswith("-"):
            stop += 1
        since = history[0].low
        return Breach(
            because=f"{name} came with vLLM {since}, and this is {deployment.release}",
            about=(name,),
            fixes=(Fix(f"leave it out, or upgrade to vLLM {since}", drop_words=words[place:stop]),),
            error=f"unrecognized arguments: {' '.join(words[place:stop])}",
        )
    return None
