"""Rule: a flag that an earlier release had."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from qcmatrix.catalogue.releases import Release, flag_history
from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range, parse_version

_OUT = "leave it out"
INSTEAD = {
    "--calculate-kv-scales": "ship the scales with the checkpoint",
    "--cuda-graph-sizes": "use `--cudagraph-capture-sizes`",
    "--disable-async-output-proc": "leave it out: the engine that had it is gone",
    "--disable-frontend-multiprocessing": "leave it out",
    "--disable-mm-preprocessor-cache": "use `--mm-processor-cache-gb 0`",
    "--enable-multimodal-encoder-data-parallel": "use `--mm-encoder-tp-mode data`",
    "--eplb-log-balancedness": "use `--eplb-config.log_balancedness`",
    "--eplb-step-interval": "use `--eplb-config.step_interval`",
    "--eplb-window-size": "use `--eplb-config.window_size`",
    "--guided-decoding-backend": "use `--structured-outputs-config.backend`",
    "--guided-decoding-disable-additional-properties": "use `--structured-outputs-config`",
    "--guided-decoding-disable-any-whitespace": "use `--structured-outputs-config.disable_any_whitespace true`",
    "--guided-decoding-disable-fallback": "leave it out",
    "--max-seq-len-to-capture": "leave it out: CUDA graphs no longer depend on the sequence length",
    "--num-lookahead-slots": "use `--speculative-config`",
    "--num-redundant-experts": "use `--eplb-config.num_redundant_experts`",
    "--num-scheduler-steps": "leave it out: the engine that had it is gone",
    "--preemption-mode": "leave it out: preempted requests are recomputed",
    "--rope-theta": "put `rope_theta` into `--hf-overrides` (from 0.12.0 on inside its `rope_parameters`)",
    "--scheduler-delay-factor": "leave it out: the engine that had it is gone",
    "--swap-space": "leave it out: preempted requests are recomputed, not swapped",
    "--task": "use `--runner` and `--convert`",
}
"""Flags that are gone -> what came in their place."""
_OWN_RULE = ("--rope-scaling", "-O")
_OPTION = re.compile(r"--?[A-Za-z]")
_TASKS: dict[str, dict[str, Any]] = {
    "auto": {},
    "generate": {},
    "embed": {"runner": "pooling", "convert": "embed"},
    "embedding": {"runner": "pooling", "convert": "embed"},
}


def _flags(words: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Flag names among ``words``, each with the words that go when it goes (itself and its values)."""
    for place, word in enumerate(words):
        if not _OPTION.match(word):
            continue
        stop = place + 1
        while "=" not in word and stop < len(words) and not words[stop].startswith("-"):
            stop += 1
        yield word.partition("=")[0].partition(".")[0].replace("_", "-"), words[place:stop]


def _replacement(name: str, values: tuple[str, ...]) -> dict[str, Any] | None:
    """The options that say the same today; ``None``: it cannot be told."""
    value = values[0] if values else ""
    if any("$" in each for each in values):
        return None
    whole = value.isascii() and value.isdigit()
    match name:
        case "--task":
            return _TASKS.get(value)
        case "--guided-decoding-backend":
            return {"structured_outputs_config": {"backend": value}} if value else None
        case "--guided-decoding-disable-any-whitespace":
            return {"structured_outputs_config": {"disable_any_whitespace": True}}
        case "--disable-mm-preprocessor-cache":
            return {"mm_processor_cache_gb": 0.0}
        case "--enable-multimodal-encoder-data-parallel":
            return {"mm_encoder_tp_mode": "data"}
        case "--num-redundant-experts" | "--eplb-window-size" | "--eplb-step-interval" if whole:
            return {"eplb_config": {name.removeprefix("--").removeprefix("eplb-").replace("-", "_"): int(value)}}
        case _:
            return {} if INSTEAD.get(name, _OUT).startswith(_OUT) else None


def _mended(release: Release, gone: Mapping[str, tuple[str, ...]]) -> tuple[dict[str, Any], bool]:
    """What to set in place of all flags that are gone, and whether that is all that they said."""
    options: dict[str, Any] = {}
    whole = True
    for name, words in gone.items():
        inline = words[0].partition("=")[2]
        made = _replacement(name, (inline,) if inline else words[1:])
        if made is None or not made.keys() <= release.flag_by_dest.keys():
            whole = False
            continue
        for dest, value in made.items():
            merges = isinstance(value, dict) and isinstance(options.get(dest), dict)
            options[dest] = {**options[dest], **value} if merges else value
    return options, whole


@rule(
    holds=Range("0.10.1"),
    reads=("release", "unknown"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/engine/arg_utils.py",
            "unrecognized arguments: --swap-space 16",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.28.0/vllm/engine/arg_utils.py",
            "unrecognized arguments: --max-seq-len-to-capture 32768",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.2/vllm/engine/arg_utils.py",
            'model_group.add_argument("--max-seq-len-to-capture", **model_kwargs["max_seq_len_to_capture"])',
            Level.DERIVED,
        ),
        RuleSource(
            "https://docs.python.org/3/library/argparse.html",
            "error: unrecognized arguments",
        ),
    ),
)
def removed_flag(deployment: Deployment) -> Verdict:
    """A flag that the release has no more

    What it finds
    A flag of `vllm serve` that some release from 0.10.0 on has and that this one, being newer, has not. The history
    is extracted from the source of every release: `qcmatrix releases` names them.

    Why it fails
    The argument parser does not know the word and stops: "unrecognized arguments". Upgrades break commands in this
    way more than in any other: flags of the old engine went in 0.10 to 0.12, `--swap-space` in 0.18.

    What to do
    What came in its place, or leave it out; the finding says so where it is known.

    Not covered
    `--rope-scaling`: `yarn-by-removed-rope-scaling-flag`. Flags that left before 0.10.0 are unknown here.
    """
    version = deployment.release.version
    gone: dict[str, str] = {}
    given: dict[str, tuple[str, ...]] = {}
    lost: list[str] = []
    for name, words in _flags(deployment.unknown):
        if name in _OWN_RULE:
            continue
        history = flag_history(name)
        # A flag may come back later: `--disable-log-requests` is gone in 0.17.0 and there again in 0.33.0.
        left = [had.high for had in history if had.high is not None and version >= parse_version(had.high)]
        if left and not any(version in had for had in history):
            gone[name] = f"{name} left vLLM with {left[-1]}: {INSTEAD.get(name, _OUT)}"
            given[name] = words
            lost += words
    if not gone:
        return None
    advice = "; ".join(f"{name}: {INSTEAD.get(name, _OUT)}" for name in gone)
    options, whole = _mended(deployment.release, given)
    text = advice.partition(": ")[2] if len(gone) == 1 else advice
    return Breach(
        because="; ".join(gone.values()),
        about=tuple(gone),
        fixes=(Fix(text, set=options, drop_words=tuple(lost), safe=whole),),
        error=f"unrecognized arguments: {' '.join(lost)}",
    )
