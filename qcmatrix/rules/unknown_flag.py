"""Rule: a flag that no release has."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from qcmatrix.catalogue.releases import Release, flag_history
from qcmatrix.deployment import Deployment
from qcmatrix.launch.values import ValueRefusedError, read_value, takes_no_value
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range

_OPTION = re.compile(r"--?[A-Za-z]")
_CLOSE = 0.85
"""Of difflib: below, what is meant would be a guess."""
_BEFORE = {
    "--device": "vLLM finds the device by itself",
    "--enable-reasoning": "`--reasoning-parser` alone turns reasoning on",
    "--tokenizer-pool-extra-config": "there is no pool of tokenizers any more",
    "--tokenizer-pool-size": "there is no pool of tokenizers any more",
    "--tokenizer-pool-type": "there is no pool of tokenizers any more",
    "--use-v2-block-manager": "there is one block manager only",
    "--qlora-adapter-name-or-path": "`--lora-modules` loads adapters",
    "--prompt-adapters": "prompt adapters are gone",
    "--max-prompt-adapters": "prompt adapters are gone",
    "--max-prompt-adapter-token": "prompt adapters are gone",
    "--long-lora-scaling-factors": "LongLoRA is gone",
    "--expand-tools-even-if-tool-choice-none": "see `--exclude-tools-when-tool-choice-none`",
}
"""Flags of 0.9.2 that 0.10.0 has no more -> why nothing is lost."""


@lru_cache(maxsize=4096)  # asked for every card and model that stands in for an unknown one
def _closest(name: str, release: Release) -> tuple[str, ...]:
    return tuple(difflib.get_close_matches(name, release.flag_by_name, n=1, cutoff=_CLOSE))


def _meant(close: str, values: Sequence[str], deployment: Deployment) -> dict[str, Any] | None:
    """``values`` as those of the flag that is meant; ``None``: it does not take them, or one is not known."""
    flag = deployment.release.flag_by_name[close]
    if flag.dest in deployment.options or any("$" in value for value in values):
        return None
    if takes_no_value(flag):
        return None if values else {flag.dest: close not in flag.negations}
    if flag.nargs not in (None, "?") or len(values) != 1:
        return None
    try:
        return {flag.dest: read_value(flag, values[0], deployment.release.version)}
    except ValueRefusedError:
        return None


@rule(
    holds=Range("0.10.0"),
    reads=("release", "unknown", "options"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://docs.python.org/3/library/argparse.html",
            "error: unrecognized arguments",
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.9.2/vllm/engine/arg_utils.py",
            "--enable-reasoning",
            Level.DERIVED,
        ),
    ),
)
def unknown_flag(deployment: Deployment) -> Verdict:
    """A flag that no release from 0.10 on has

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
        lost = words[place:stop]
        fix: Fix | None = Fix("leave it out", drop_words=lost)
        close = _closest(name, deployment.release)
        if name == "-O":
            because = f"vLLM {deployment.release} reads -O only before a level from 0 to 3"
        elif name in _BEFORE:
            because = f"{name} left vLLM with 0.10.0: {_BEFORE[name]}"
        elif close:
            because = f"no release of vLLM from 0.10.0 on has {name}; did you mean {close[0]}?"
            inline = word.partition("=")[2]
            made = _meant(close[0], (inline,) if "=" in word else lost[1:], deployment)
            fix = None if made is None else Fix(f"write `{close[0]}`", set=made, drop_words=lost)
        else:
            because = f"no release of vLLM from 0.10.0 on has {name}"
        return Breach(
            because=because,
            about=(name,),
            fixes=() if fix is None else (fix,),
            error=f"unrecognized arguments: {' '.join(words[place:stop])}",
        )
    return None
