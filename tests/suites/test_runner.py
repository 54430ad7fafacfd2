"""In which state a check ends."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcmatrix.exchange.wire import Wire, WireError
from qcmatrix.results.schema import State
from qcmatrix.suites.bench import Bench, Subject
from qcmatrix.suites.declare import ONCE, Check, Mode, Need, NotApplicable, Rate, Wrong, check
from qcmatrix.suites.runner import Outcome, cannot_ask, run_check, wilson

SUBJECT = Subject(root="http://127.0.0.1:1", model="m", release="0.32.0", max_model_len=8192)


def made(run: Callable[[Bench], Rate | None], **more: object) -> Check:
    run.__doc__ = "A check."
    (declared,) = check("X-01", suite="tools", profiles=("p",), modes=ONCE)(run)
    return msgspec.structs.replace(declared, **more)


def outcome(run: Callable[[Bench], Rate | None], **more: object) -> Outcome:
    wire = Wire(SUBJECT.root)
    try:
        return run_check(made(run, **more), Mode.ONCE, SUBJECT, wire)
    finally:
        wire.close()


def raising(error: Exception) -> Callable[[Bench], Rate | None]:
    def run(_: Bench) -> None:
        raise error

    return run


@pytest.mark.parametrize(
    ("run", "state"),
    [
        (lambda _: None, State.PASS),
        (raising(Wrong("a", "b")), State.FAIL),
        (raising(NotApplicable("no such route")), State.UNSUPPORTED),
        (raising(WireError("reset")), State.ERROR),
        (raising(KeyError("choices")), State.ERROR),
        (lambda _: Rate(passes=20, trials=20, threshold=0.9), State.PASS),
        (lambda _: Rate(passes=2, trials=20, threshold=0.9), State.FAIL),
        (lambda _: Rate(passes=17, trials=20, threshold=0.9), State.FLAKY),
        (lambda _: Rate(passes=0, trials=20, threshold=0.0), State.PASS),
        (lambda bench: bench.wire.get("/health") and None, State.ERROR),
    ],
)
def test_states(run: Callable[[Bench], Rate | None], state: State) -> None:
    assert outcome(run).state is state


def test_what_was_said_is_kept_with_a_failure() -> None:
    def run(bench: Bench) -> None:
        try:
            bench.chat("hello")
        except WireError:
            raise Wrong("an answer", "none") from None

    seen = outcome(run)
    assert (seen.expected, seen.observed) == ("an answer", "none")
    assert "hello" in seen.curl
    assert len(seen.exchanges) == 1


@pytest.mark.parametrize(
    ("more", "state", "words"),
    [
        ({"needs": (Need.TRAINED,)}, State.SKIP, "trained weights"),
        ({"needs": (Need.OWN_SERVER,)}, State.UNSUPPORTED, "that we started"),
        ({"tokens": 8193}, State.SKIP, "8193 tokens of context"),
        ({"releases": ("0.33.0", None)}, State.UNSUPPORTED, "0.33.0"),
        ({"releases": ("0.30.0", "0.32.0")}, State.UNSUPPORTED, "this is 0.32.0"),
    ],
)
def test_what_cannot_be_asked(more: dict[str, object], state: State, words: str) -> None:
    unasked = cannot_ask(made(lambda _: None, **more), SUBJECT)
    assert unasked is not None
    assert unasked[0] is state
    assert words in unasked[1]


@pytest.mark.parametrize("more", [{"needs": (Need.ALONE,)}, {"releases": ("0.30.0", "0.32.1")}, {"tokens": 8192}])
def test_what_can_be_asked(more: dict[str, object]) -> None:
    assert cannot_ask(made(lambda _: None, **more), SUBJECT) is None


@given(st.integers(0, 500).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
def test_wilson_holds_the_share_and_stays_in_bounds(given_: tuple[int, int]) -> None:
    passes, trials = given_
    low, high = wilson(passes, trials)
    assert 0 <= low <= high <= 1
    if trials:
        assert low - 1e-9 <= passes / trials <= high + 1e-9


def test_wilson_is_the_published_one() -> None:
    from scipy.stats import binomtest

    for passes, trials in ((0, 10), (7, 10), (199, 200), (50, 100)):
        interval = binomtest(passes, trials).proportion_ci(method="wilson")
        assert wilson(passes, trials) == pytest.approx((interval.low, interval.high), abs=1e-5)


def test_a_check_without_a_docstring_is_refused() -> None:
    with pytest.raises(ValueError, match="no docstring"):
        check("X-02", suite="tools", profiles=())(lambda _: None)


def test_variants_are_checks_of_their_own() -> None:
    seen: list[int] = []

    def run(_: Bench, value: int) -> None:
        """Counts."""
        seen.append(value)

    checks = check("X-03", suite="tools", profiles=(), variants={"one": 1, "two": 2})(run)
    assert [each.id for each in checks] == ["X-03.one", "X-03.two"]
    for each in checks:
        each(None)  # type: ignore[arg-type]
    assert seen == [1, 2]
