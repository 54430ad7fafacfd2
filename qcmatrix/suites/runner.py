"""Runs one check in one mode, and says in which state it ended."""

from __future__ import annotations

import math
import time
import traceback
from typing import Any

import msgspec

from qcmatrix.exchange.curl import curl_of
from qcmatrix.exchange.wire import Exchange, Wire, WireError
from qcmatrix.results.schema import State
from qcmatrix.suites.bench import Bench, Subject
from qcmatrix.suites.declare import Check, Mode, Need, NotApplicable, Rate, Wrong
from qcmatrix.versions import Range, parse_version

__all__ = ["Outcome", "cannot_ask", "run_check", "wilson"]

_Z = 1.959964  # two-sided 95 %


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one check in one mode."""

    state: State
    seconds: float = 0.0
    expected: str = ""
    observed: str = ""
    reason: str = ""
    """Why it was not asked, or could not be judged."""
    rate: Rate | None = None
    interval: tuple[float, float] | None = None
    """Wilson's, 95 %, of the rate."""
    curl: str = ""
    """The last exchange as a command; with a failure only."""
    exchanges: tuple[Exchange, ...] = ()
    figures: dict[str, Any] = {}


_HERE = frozenset({Need.TRAINED, Need.YARN, Need.GPU})
"""Needs that another launch of the same model would meet: without them a check is not asked, and nothing is proven. Of
the others (a server of our own, a tool parser) a server that lacks them is simply no subject of the check."""


def cannot_ask(check: Check, subject: Subject) -> tuple[State, str] | None:
    """Why ``check`` is not asked of this server, and the state in which that leaves it; ``None``: it is asked."""
    missing = [need for need in check.needs if need not in subject.has and need is not Need.ALONE]
    if missing:
        state = State.SKIP if _HERE.intersection(missing) else State.UNSUPPORTED
        return state, f"needs {', '.join(missing)}"
    if subject.max_model_len is not None and check.tokens > subject.max_model_len:
        return State.SKIP, f"needs {check.tokens} tokens of context, the server has {subject.max_model_len}"
    low, high = check.releases
    if subject.release is not None and (low or high) and parse_version(subject.release) not in Range(low, high):
        asks = f"asks vLLM {low or 'of any age'} up to {high or 'the newest'}, this is {subject.release}"
        return State.UNSUPPORTED, asks
    return None


def run_check(check: Check, mode: Mode, subject: Subject, wire: Wire, *, seed: int = 0) -> Outcome:
    """Ask, and judge what came. Never raises but for what ends the whole run (Ctrl-C)."""
    unasked = cannot_ask(check, subject)
    if unasked is not None:
        return Outcome(state=unasked[0], reason=unasked[1])
    bench = Bench(subject, wire, mode, seed=seed)
    started = time.perf_counter()
    said: dict[str, Any] = {}
    try:
        rate = check(bench)
        said = _of_rate(rate) if rate is not None else {"state": State.PASS}
    except Wrong as wrong:
        said = {"state": State.FAIL, "expected": wrong.expected, "observed": wrong.observed}
    except NotApplicable as why:
        said = {"state": State.UNSUPPORTED, "reason": str(why)}
    except WireError as error:
        said = {"state": State.ERROR, "reason": str(error)}
    except Exception as error:  # a check that breaks must not end the others, nor pass
        last = traceback.extract_tb(error.__traceback__)[-1]
        said = {
            "state": State.ERROR,
            "reason": f"the check broke: {type(error).__name__}: {error} ({last.name}, line {last.lineno})",
        }
    bad = said["state"] in (State.FAIL, State.FLAKY, State.ERROR)
    exchanges = tuple(bench.exchanges)
    return Outcome(
        seconds=round(time.perf_counter() - started, 4),
        exchanges=exchanges,
        figures=bench.figures,
        curl=curl_of(exchanges[-1], subject.root, has_key=subject.has_key) if bad and exchanges else "",
        **said,
    )


def wilson(passes: int, trials: int) -> tuple[float, float]:
    """Wilson's score interval of a share, 95 % (https://doi.org/10.1080/01621459.1927.10502953)."""
    if trials == 0:
        return 0.0, 1.0
    share = passes / trials
    spread = _Z * _Z / trials
    centre = (share + spread / 2) / (1 + spread)
    half = _Z * math.sqrt(share * (1 - share) / trials + spread / (4 * trials)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def _of_rate(rate: Rate) -> dict[str, Any]:
    """Passes where the whole interval reaches the threshold, fails where none of it does; between, it is open."""
    low, high = wilson(rate.passes, rate.trials)
    said: dict[str, Any] = {"rate": rate, "interval": (round(low, 4), round(high, 4))}
    share = f"{rate.passes} of {rate.trials} (95 %: {low:.2f} to {high:.2f})"
    if rate.threshold <= 0 or low >= rate.threshold or rate.passes == rate.trials:
        return said | {"state": State.PASS}
    state = State.FAIL if high < rate.threshold else State.FLAKY
    misses = f"; such as: {rate.misses[0]}" if rate.misses else ""
    return said | {"state": state, "expected": f"a rate of {rate.threshold:.2f}", "observed": f"{share}{misses}"}
