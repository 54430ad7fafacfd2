"""API-02: how the server started, by the clock and by its log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qcmatrix.errors import UserError
from qcmatrix.suites.bench import Bench
from qcmatrix.suites.boot.prediction import outside, predicted
from qcmatrix.suites.boot.settings import attempt_of
from qcmatrix.suites.declare import ONCE, Need, NotApplicable, Wrong, check

__all__: list[str] = []

_OWN = (Need.OWN_SERVER,)
_KV_LINES = "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/v1/core/kv_cache_utils.py"
_MEMORY = "https://docs.vllm.ai/en/v0.33.0/configuration/conserving_memory/"
_OVERRIDDEN = "have been overridden by the model's"
_FIGURES = {
    "kv_tokens": "kv_cache_tokens",
    "concurrency": "max_concurrency",
    "concurrency_tokens": "max_concurrency_of_tokens",
    "attention_backend": "attention_backend",
    "batched_tokens": "max_num_batched_tokens",
}


@check("API-02.budget", suite="boot", profiles=("chat-api",), modes=ONCE, needs=_OWN, tokens=0)
def budget(bench: Bench) -> None:
    """The server is ready within its entry's time.

    From the start of the process to a healthy answer no more than the ``boot_seconds`` of the entry. A slow start is
    what an autoscaler and a rolling update feel first; a start that hangs is ended before this check and blocks all.
    """
    seconds = bench.subject.server.boot_seconds
    entry = bench.subject.entry
    if seconds is None or entry is None or entry.boot_seconds is None:
        raise NotApplicable("no time was taken, or none is allowed for")
    bench.figures["boot_s"] = round(seconds, 1)
    bench.expect(seconds <= entry.boot_seconds, f"ready in {entry.boot_seconds:g} s", f"{seconds:.1f} s")


@check("API-02.log", suite="boot", profiles=("chat-api",), modes=ONCE, needs=_OWN, tokens=0, sources=(_KV_LINES,))
def log(bench: Bench) -> None:
    """The log's figures are those of the length that clients are told.

    Recorded: the attention backend, the tokens of KV cache, the maximum concurrency, and whether the model's
    ``generation_config.json`` overrides sampling defaults. The length that the maximum concurrency is stated for must
    be the ``max_model_len`` of ``/v1/models``, and at least one request of that length must fit: vLLM refuses to start
    otherwise, so anything else means that front end and engine hold different lengths. Not covered: a log without
    that line.
    """
    readings = _readings(bench.subject.server.log)
    for theirs, ours in _FIGURES.items():
        if readings.get(theirs):
            bench.figures[ours] = readings[theirs]
    bench.figures["generation_config_overrides"] = _overrides(bench.subject.server.log)
    stated = readings.get("concurrency_tokens")
    if stated is None or bench.subject.max_model_len is None:
        raise NotApplicable("the log states no maximum concurrency, or the server no length")
    length = f"{bench.subject.max_model_len:,} tokens, as /v1/models has it"
    bench.expect(stated == bench.subject.max_model_len, f"a concurrency for {length}", f"for {stated:,} tokens")
    several = readings["concurrency"]
    bench.expect(several >= 1, "room for one request of the whole length", f"for {several} of one")


@check("API-02.memory", suite="boot", profiles=("chat-api",), modes=ONCE, needs=_OWN, tokens=0, sources=(_MEMORY,))
def memory(bench: Bench) -> None:
    """What the server measured of its memory lies inside the predicted intervals.

    The log's figures (what loading took, peak activation, memory outside PyTorch, CUDA graphs, available KV cache and
    its tokens, maximum concurrency) against the ledger of the same launch. A figure outside its interval is a finding:
    the memory model is wrong for this launch, or something else holds memory on the card. Not covered: the CPU build,
    of which there is no ledger.
    """
    entry = bench.subject.entry
    if entry is None:
        raise NotApplicable("nobody knows what this server was asked for")
    try:
        foretold = predicted(entry)
    except UserError as error:
        raise Wrong("an entry that can be sized", error.what) from error
    if not foretold:
        raise NotApplicable("there is no memory ledger of this launch")
    measured = {name: float(value) for name, value in bench.subject.server.measured.items() if name in foretold}
    if not measured:
        raise NotApplicable("the log states none of the figures that are predicted")
    bench.figures["measured"] = measured
    bench.figures["predicted"] = {name: [round(value, 3) for value in each] for name, each in foretold.items()}
    parted = outside(measured, foretold)
    bench.expect(not parted, "every figure inside its interval", "; ".join(parted))


def _readings(path: Path) -> dict[str, Any]:
    attempt = attempt_of(path)
    if attempt is None:
        raise NotApplicable("the log cannot be read")
    found: dict[str, Any] = {}
    for name in _FIGURES:
        values = [reading.value.replace(",", "") for reading in attempt.readings.get(name, ())]
        if not values:
            continue
        if name == "attention_backend":
            # The same words also tell the backend of the experts, and of the all-to-all between them.
            named = [value for value in values if "MoE" not in value and "EP" not in value]
            found |= {name: named[0]} if named else {}
        else:
            least = min(float(value) for value in values)
            found[name] = least if name == "concurrency" else int(least)
    return found


def _overrides(path: Path) -> str:
    """The sampling defaults that the log says the model's own file overrides; empty: none."""
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if _OVERRIDDEN in line:
                    start, end = line.find("{"), line.find("}")
                    return line[start : end + 1] if 0 <= start < end else "some"
    except OSError:
        pass
    return ""
