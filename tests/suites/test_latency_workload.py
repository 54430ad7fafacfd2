"""The client and a workload against a server that stalls, refuses and breaks off as a script says."""

from __future__ import annotations

import datetime
from collections.abc import Callable

import msgspec
import pytest

from qcmatrix.exchange.wire import Wire, WireError
from qcmatrix.matrix.entries import Budget, Entry, Expectation, Measured
from qcmatrix.results.schema import State
from qcmatrix.suites.bench import CHAT, Bench, Subject
from qcmatrix.suites.declare import Check, Mode, Need, Wrong
from qcmatrix.suites.latency import autocomplete
from qcmatrix.suites.latency.agent import long_argument
from qcmatrix.suites.latency.client import Ask, Client, Run
from qcmatrix.suites.latency.measure import Form, run_workload
from qcmatrix.suites.latency.prompts import _source, chat_counter, filled, fim_prompt, own_code
from qcmatrix.suites.latency.record import Record
from qcmatrix.suites.latency.scale import SIZE_VARIABLE, Shape, scaled_why
from qcmatrix.suites.latency.seed_shape import against_entry
from qcmatrix.suites.latency.spread import QUANTILES
from qcmatrix.suites.runner import run_check
from tests.suites.scripted import Script, served

SHAPE = Shape(tokens_in=100, tokens_out=3, requests=5, warm_up=1)


def budget(metric: str, most: float) -> Budget:
    return Budget(gpu="H200", workload="LAT-02", metric=metric, quantile="p50", most=most)  # type: ignore[arg-type]


def entry(*budgets: Budget, fleet: str = "8xH200") -> Entry:
    return Entry(
        id="one",
        fleet=fleet,
        vllm="0.32.0",
        command="vllm serve x",
        expect=Expectation(verdict="starts"),
        source="https://example.org",
        read=datetime.date(2026, 11, 1),
        budgets=budgets,
    )


def ask(tokens: int = 3, leave_after: int | None = None) -> Ask:
    body = {"messages": [{"role": "user", "content": "x" * 100}], "max_tokens": tokens}
    return Ask(path=CHAT, body=body, leave_after=leave_after)


def measured(root: str, *budgets: Budget, form: Form | None = None) -> Bench:
    """One workload, asked of the server at ``root``."""
    wire = Wire(root)
    try:
        bench = Bench(Subject(root=root, model="m", entry=entry(*budgets), gpu="H200"), wire, Mode.ONCE)
        held = form or Form(tokens_in=100, tokens_out=3)
        run_workload(bench, "LAT-02.c1", SHAPE, lambda many: [ask() for _ in range(many)], held)
        return bench
    finally:
        wire.close()


def test_a_run_without_budgets_only_reports() -> None:
    script = Script()
    with served(script) as root:
        figures = measured(root).figures
    assert script.requests == 6, "one to warm up, five that count"
    assert figures["metrics"]["ttft_ms"]["n"] == 5
    assert figures["output_tokens"] == 15
    assert "budgets" not in figures


@pytest.mark.parametrize(
    ("script", "metric"),
    [
        (Script(before_first=lambda _: 0.06), "ttft_ms"),
        (Script(between=0.06), "tpot_ms"),
        (Script(between=0.06), "itl_ms"),
    ],
)
def test_a_stall_breaks_its_budget_twice(script: Script, metric: str) -> None:
    with served(script) as root, pytest.raises(Wrong, match=f"{metric} p50 <= 50 ms.*in two runs"):
        measured(root, budget(metric, 50))
    assert script.requests == 11


def test_a_stall_that_does_not_come_again_breaks_nothing() -> None:
    script = Script(before_first=lambda number: 0.4 if number < 6 else 0.0)
    with served(script) as root:
        figures = measured(root, budget("ttft_ms", 300), budget("e2el_ms", 60_000)).figures
    assert [each["state"] for each in figures["budgets"]] == ["broken", "kept"]
    assert figures["rerun"]["metrics"]["ttft_ms"]["p50"] < 300


@pytest.mark.parametrize(
    ("script", "form", "words"),
    [
        (Script(status=503), None, "HTTP 503"),
        (Script(breaks_after=2), None, r"no \[DONE\]"),
        (Script(), Form(tokens_out=4), "4 output tokens"),
        (Script(), Form(tokens_in=110), "110 prompt tokens"),
        (Script(), Form(more=lambda record: f"said {record.text}"), "said xxx"),
    ],
)
def test_a_reply_of_another_form_is_wrong(script: Script, form: Form | None, words: str) -> None:
    with served(script) as root, pytest.raises(Wrong, match=words):
        measured(root, form=form)


def test_no_server_is_no_judgement() -> None:
    with served(Script()) as root:
        pass
    with pytest.raises(WireError, match="connection"):
        measured(root)


def test_the_client_hangs_up_when_it_is_to() -> None:
    script = Script(between=0.02)
    with served(script) as root:
        run = Client(root).closed([ask(200, leave_after=2), ask()], 2)
    assert [record.left for record in run.records] == [True, False]
    assert not run.records[0].faults
    assert run.records[1].ok
    assert script.hung_up == 1
    assert run.seconds < 3, "it did not stay to the end"


def test_the_client_gives_up_on_a_silent_server() -> None:
    with served(Script(before_first=lambda _: 0.5)) as root:
        run = Client(root, timeout=0.1).closed([ask()], 1)
    assert "not done after 0.1 s" in run.records[0].error


def test_requests_beside_begin_before_and_end_with_the_others() -> None:
    script = Script(between=0.02)
    with served(script) as root:
        run = Client(root).closed([ask(5)] * 3, 1, beside=(ask(4) for _ in range(1000)))
    assert all(record.ok for record in run.records)
    assert 2 <= len(run.beside) < 20
    assert [record.left for record in run.beside] == [False] * (len(run.beside) - 1) + [True]
    assert run.beside[0].sent <= run.records[0].sent


def test_timed_requests_do_not_wait_for_each_other() -> None:
    with served(Script(before_first=lambda _: 0.3)) as root:
        run = Client(root).timed([ask(1)] * 4, [0.0, 0.05, 0.1, 0.15])
    assert all(record.ok for record in run.records)
    assert run.seconds < 1.2
    assert [record.sent for record in run.records] == pytest.approx([0.0, 0.05, 0.1, 0.15], abs=0.1)


def test_a_prompt_of_so_many_tokens() -> None:
    with served(Script()) as root:
        wire = Wire(root)
        bench = Bench(Subject(root=root, model="m"), wire, Mode.ONCE)
        prompt = filled(chat_counter(bench), 500)
        wire.close()
    texts = {prompt.text(bench.rng) for _ in range(3)}
    assert {len(text) for text in texts} == {500} == {prompt.tokens}
    assert len(texts) == 3
    assert bench.exchanges == [], "how it was counted is not what the check asked"


def test_code_to_complete_and_to_write() -> None:
    rng = Bench(Subject(root="", model=""), Wire("http://127.0.0.1:1"), Mode.ONCE).rng
    one, other = fim_prompt(rng, 600), fim_prompt(rng, 600)
    assert one != other
    assert one.index("<|fim_prefix|>") < one.index("<|fim_suffix|>") < one.index("<|fim_middle|>")
    before, _, after = one.partition("<|fim_prefix|>")[2].partition("\n")[2].partition("<|fim_suffix|>")
    after = after.removesuffix("<|fim_middle|>")
    assert len(before + after) == 600
    assert before + after not in _source(), "something is missing between them"
    assert 590 <= len(own_code(600)) <= 600
    assert len(own_code(200_000).encode()) > 199_000
    assert "<" not in own_code(200_000)


@pytest.mark.parametrize(
    ("asked", "subject", "small"),
    [
        ("", Subject(root="", model="", gpu="H200", entry=entry()), False),
        ("", Subject(root="", model="", entry=entry(fleet="cpu")), True),
        ("", Subject(root="", model=""), True),
        ("full", Subject(root="", model=""), False),
        ("scaled", Subject(root="", model="", gpu="H200", entry=entry()), True),
    ],
)
def test_which_size(monkeypatch: pytest.MonkeyPatch, asked: str, subject: Subject, small: bool) -> None:
    monkeypatch.setenv(SIZE_VARIABLE, asked)
    assert bool(scaled_why(subject)) is small


def full_size(check: tuple[Check, ...], root: str) -> tuple[State, str, dict[str, object]]:
    """State, what was observed and the figures of a check, as on a card that is known."""
    wire = Wire(root)
    subject = Subject(
        root=root,
        model="m",
        max_model_len=300_000,
        entry=entry(),
        gpu="H200",
        has=frozenset({Need.TOOLS, Need.FORCING}),
    )
    outcome = run_check(check[0], Mode.ONCE, subject, wire)
    wire.close()
    return outcome.state, f"{outcome.observed}{outcome.reason}", outcome.figures


@pytest.mark.parametrize(
    ("cpu_of", "state"),
    [
        (lambda size: 1e-5 * size, State.PASS),
        (lambda size: 1e-9 * size * size, State.FAIL),
    ],
)
def test_cpu_that_grows_with_the_square_of_an_argument(cpu_of: Callable[[int], float], state: State) -> None:
    with served(Script(cpu_of=cpu_of)) as root:
        found, observed, figures = full_size(long_argument, root)
    assert found is state, observed
    assert [each["bytes"] for each in figures["sizes"]] == pytest.approx([1_000, 20_000, 200_000], rel=0.01)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("beside_long", "state"), [(2.0, State.FAIL), (0.25, State.PASS)])
def test_autocomplete_beside_a_prefill(beside_long: float, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    # The median of fewer requests in its place: a script's delays are not drawn from anything, a busy machine's are.
    monkeypatch.setitem(QUANTILES, "p95", (0.5, 16))
    monkeypatch.setattr(autocomplete, "FULL", Shape(tokens_in=100, tokens_out=2, requests=16, warm_up=1))
    monkeypatch.setattr(autocomplete, "PREFILL", Shape(tokens_in=131_000, tokens_out=1, requests=16, concurrency=8))
    with served(Script(between=0.25, long_takes=60.0, beside_long=beside_long)) as root:
        found, observed, figures = full_size(autocomplete.interference, root)
    assert found is state, (observed, figures.get("ratio_p95"), figures.get("rerun"))
    if state is State.FAIL:
        assert "times (95 %" in observed
        assert figures["rerun"]["ratio_p95"]["low"] > 3  # type: ignore[index]


def test_the_recipes_figures_stand_beside_ours() -> None:
    theirs = Measured(ttft_median_ms=6935.71, tpot_median_ms=67.23, output_tokens_per_second=131.88)
    measured_entry = msgspec.structs.replace(entry(), measured=theirs)
    bench = Bench(Subject(root="", model="m", entry=measured_entry, gpu="H200"), Wire("http://127.0.0.1:1"), Mode.ONCE)
    record = Record(status=200, outputs=(1.0, 2.0), output_tokens=11)
    against_entry(bench, Run(records=(record,) * 4, seconds=4.0))
    assert {name: each["here"] for name, each in bench.figures["against_entry"].items()} == {
        "ttft_median_ms": 1000.0,
        "tpot_median_ms": 100.0,
        "output_tokens_per_second": 11.0,
    }
    assert bench.figures["against_entry"]["ttft_median_ms"]["ratio"] == pytest.approx(0.1442)
