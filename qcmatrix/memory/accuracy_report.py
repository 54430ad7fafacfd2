"""The accuracy page: predicted against measured as Markdown, the same text for the same input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from qcmatrix.memory.accuracy import Compared, Skipped, Summary, summarise
from qcmatrix.memory.fit import Miss, activation_misses, budget_misses, group_medians, load_cases
from qcmatrix.memory.ledger import Interval

__all__ = ["render_accuracy"]


def render_accuracy(compared: Sequence[Compared], skipped: Sequence[Skipped], *, source: str) -> str:
    """The whole page. ``source`` names the file of cases, for the reader."""
    fitted = {case.url for case in load_cases() if case.use == "fit"}
    lines = [
        "# How good is the memory model?",
        "",
        f"Predicted against measured on {source}.",
        'KV is what vLLM prints as "Available KV cache memory": GiB of the GPU with the least.',
        "A row counts in the headline when its release is stated, or told by the source lines in its log,",
        "and it is not of low confidence; the others are listed and kept apart.",
        "`tight` means that the interval straddles the need: neither a promise nor a refusal.",
        "`seen` rows come from a log that was also used for fitting the memory outside PyTorch:",
        "the last table predicts each of those without itself and is the fairer figure.",
        "",
        "How it did on logs that it had not seen, once, on 2026-11-22: on 14 public logs found after the first",
        "calibration the median KV error was 3.1%, the 90th percentile 18.4%, and 73% of the figures lay inside the",
        "interval. What was missing was then found on those very logs and mended, so that today's figures for them,",
        "below, are no longer out of sample: expect a new kind of launch to miss by more than these.",
        "",
        "## Summary",
        "",
        *_table(
            ("", "headline", "all"),
            _summary_rows(summarise(compared), summarise(compared, headline=False)),
        ),
        "",
        "## KV cache memory",
        "",
        *_table(
            ("case", "release", "measured", "predicted", "error", "inside", "outcome", "verdict", "seen", "apart"),
            [_kv_row(row, fitted) for row in compared if row.case.available_kv_gib is not None],
        ),
        "",
        "## Verdicts where no KV figure is known",
        "",
        *_table(
            ("case", "release", "outcome", "verdict", "", "apart"),
            [_verdict_row(row) for row in compared if row.case.available_kv_gib is None],
        ),
        "",
        "## Skipped",
        "",
        *_table(
            ("cases", "why"),
            [(str(count), why) for why, count in sorted(Counter(skip.reason for skip in skipped).items())],
        ),
        "",
        "## The parts, against the packaged logs",
        "",
        "Peak activation is computed from tensor shapes, nothing is fitted. The non-torch memory of a launch is the",
        "median of the logs of its kind; below, each log is predicted without itself (a kind with one log falls back",
        "on the stated figure, which is no test). The two data-parallel logs are of one machine and stand in for each",
        "other. Interval widths were chosen with all logs in sight: coverage here is not an independent test of them.",
        "`check` logs were not used for fitting.",
        "",
        *_table(("kind of launch", "median GiB", "logs"), _median_rows()),
        "",
        *_table(("log", "use", "activations, measured", "predicted", "error"), [_miss(m) for m in activation_misses()]),
        "",
        *_table(
            ("log", "use", "budget less weights and KV, measured", "predicted without it", "error", "of KV"),
            [_budget(m) for m in budget_misses()],
        ),
        "",
    ]
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return ["none"]
    marks = ["---"] * len(head)
    return ["| " + " | ".join(cells) + " |" for cells in (head, marks, *rows)]


def _summary_rows(headline: Summary, every: Summary) -> list[tuple[str, str, str]]:
    both = (headline, every)
    rows: list[tuple[str, list[str]]] = [
        ("cases", [str(s.cases) for s in both]),
        ("with a KV figure", [str(s.kv_cases) for s in both]),
        ("median KV error", [_percent(s.kv_median_error) for s in both]),
        ("90th percentile", [_percent(s.kv_p90_error) for s in both]),
        ("measured KV inside the interval", [_percent(s.kv_coverage, digits=0) for s in both]),
        ("with a weights figure", [str(s.weights_cases) for s in both]),
        ("worst weights error", [_percent(s.weights_worst_error) for s in both]),
        ("failed for memory, predicted `starts`", [_names(s.false_starts) for s in both]),
        ("served, predicted not to", [_names(s.false_refusals) for s in both]),
        ("refused by vLLM, predicted `starts`", [_names(s.missed_refusals) for s in both]),
    ]
    return [(name, *cells) for name, cells in rows]  # type: ignore[misc]  # two cells each


def _names(ids: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in ids) if ids else "none"


def _percent(value: float | None, *, digits: int = 1) -> str:
    return "" if value is None else f"{100 * value:.{digits}f}%"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{100 * value:+.1f}%"


def _interval(value: Interval) -> str:
    return f"{value.mid:.2f} ({value.low:.2f} to {value.high:.2f})"


def _linked(row: Compared) -> str:
    return f"[{row.case.id}]({row.case.url})" if row.case.url else row.case.id


def _apart(row: Compared) -> str:
    return "; ".join([*row.apart, *([row.release_basis] if any("release" in each for each in row.apart) else [])])


def _kv_row(row: Compared, fitted: set[str]) -> tuple[str, ...]:
    predicted = "" if row.footprint is None else _interval(row.footprint.kv_gib)
    inside = {True: "yes", False: "no", None: ""}[row.kv_inside]
    measured = f"{row.case.available_kv_gib:.2f}"
    return (
        _linked(row), row.release, measured, predicted, _signed(row.kv_error), inside, row.case.outcome, row.verdict,
        "seen" if row.case.url in fitted else "", _apart(row),
    )  # fmt: skip


def _verdict_row(row: Compared) -> tuple[str, ...]:
    judgement = ""
    if row.false_start:
        judgement = "false start"
    elif row.false_refusal:
        judgement = "false refusal"
    elif row.missed_refusal:
        judgement = "missed refusal"
    return _linked(row), row.release, row.case.outcome, row.verdict, judgement, _apart(row)


def _median_rows() -> list[tuple[str, str, str]]:
    return [(f"`{key}`", f"{middle:.2f}", str(count)) for key, (middle, count) in sorted(group_medians().items())]


def _miss(miss: Miss) -> tuple[str, ...]:
    case = miss.case
    return f"[{case.id}]({case.url})", case.use, f"{miss.measured:.2f}", _interval(miss.predicted), f"{miss.error:+.2f}"


def _budget(miss: Miss) -> tuple[str, ...]:
    kv = miss.case.kv_gib
    share = "" if not kv or kv <= 0 else _signed(-miss.error / kv)
    return (*_miss(miss), share)
