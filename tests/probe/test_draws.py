"""Drawn launches: they are sensible, can be drawn again and made smaller, and the releases agree with us on them."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import qcmatrix.assess
from qcmatrix.catalogue.releases import Release, load_release
from qcmatrix.probe import agree
from qcmatrix.probe.agree import Grade
from qcmatrix.probe.drawn_parts import Part
from qcmatrix.probe.draws import Drawn, draw, rule_case, seeded, shrink
from qcmatrix.probe.parts.draws import Asker, disagreements, probe, summary
from qcmatrix.probe.session import Hello, Reply, Session, WorkerError
from qcmatrix.rules import all_rules
from qcmatrix.rules.declare import Outcome

_T = TypeVar("_T")


class Hypothetical:
    """Choices that Hypothesis makes, and makes simpler."""

    def __init__(self, drawer: st.DrawFn) -> None:
        self._draw = drawer

    def pick(self, options: Sequence[_T]) -> _T:
        return self._draw(st.sampled_from(options))

    def chance(self, probability: float) -> bool:
        return self._draw(st.integers(0, 9999)) >= 10_000 - round(probability * 10_000)


@st.composite
def launches(drawer: st.DrawFn, release: Release) -> Drawn:
    return draw(Hypothetical(drawer), release)


class Puppet:
    """A session whose release says what ``says`` makes of a question."""

    hello = Hello(vllm="0.28.0", torch="2.13.0", transformers="5.19.0", python="3.11.7")

    def __init__(self, says: Callable[[Mapping[str, Any]], Reply]) -> None:
        self._says = says
        self.asked: list[Mapping[str, Any]] = []

    def configs(self, configs: Mapping[str, Any]) -> None:
        assert configs

    def ask_many(self, questions: Iterable[Mapping[str, Any]], *, timeout: float) -> Iterator[Reply]:
        assert timeout > 0
        for question in questions:
            self.asked.append(question)
            yield self._says(question)


def accepts(question: Mapping[str, Any]) -> Reply:
    return Reply({"stage": "ok", "resolved": {}}, None, None, 0.0)


def refuses_three(question: Mapping[str, Any]) -> Reply:
    """Tensor parallel size 3 is refused, with the words of no rule; all else is accepted."""
    argv = question["argv"]
    if "3" in argv or "--tensor-parallel-size=3" in argv:
        error = {"type": "ValueError", "text": "three is refused"}
        return Reply({"stage": "config", "error": error}, None, None, 0.0)
    return accepts(question)


def asker_of(says: Callable[[Mapping[str, Any]], Reply], release: str = "0.28.0") -> Asker:
    return Asker(Puppet(says), load_release(release))  # type: ignore[arg-type]


def test_a_seed_draws_the_same_launches_again() -> None:
    release = load_release("0.28.0")
    first = list(seeded(release, 20, 7))
    assert first == list(seeded(release, 20, 7))
    assert first[13:15] == list(seeded(release, 2, 7, start=13))
    assert first != list(seeded(release, 20, 8))


@pytest.mark.parametrize("name", ["0.10.0", "0.18.1", "0.33.0"])
def test_draws_are_of_every_kind(name: str) -> None:
    """Many are accepted, most of the others break one rule only, and many rules are met."""
    asker = asker_of(accepts, name)
    refusals = [asker._ours(launch).refusals for launch in seeded(load_release(name), 250, 1)]
    alone = [found[0].rule.id for found in refusals if len(found) == 1]
    assert sum(not found for found in refusals) > 100
    assert len(alone) > 40
    assert len(set(alone)) > 12


@given(st.data())
@settings(max_examples=30)
def test_hypothesis_draws_words_that_can_be_judged(data: st.DataObject) -> None:
    release = load_release("0.20.2")
    launch = data.draw(launches(release))
    words = shlex.split(launch.command)
    assert words[len(launch.env) :] == launch.words
    assert asker_of(accepts, "0.20.2")._ours(launch).deployment.env == launch.env


def test_a_disagreement_is_made_as_small_as_it_gets() -> None:
    asker = asker_of(refuses_three)
    part = Part(("--tensor-parallel-size", "3"))
    others = (Part(("--max-model-len", "8192")), Part(("--seed", "1"), (("VLLM_USE_DEEP_GEMM", "0"),)))
    launch = Drawn("Qwen/Qwen3-Coder-Next", "A100-80", (others[0], part, others[1]))
    smallest = shrink(launch, lambda smaller: part in smaller.parts)
    assert smallest == Drawn("Qwen/Qwen3-Coder-Next", "H200", (part,))
    assert asker.one(launch).refused


def test_shrinking_stops_after_its_tries() -> None:
    tried: list[Drawn] = []

    def disagrees(smaller: Drawn) -> bool:
        tried.append(smaller)
        return False

    parts = tuple(Part((f"--seed={number}",)) for number in range(20))
    launch = Drawn("Qwen/Qwen3-8B", "H200", parts)
    assert shrink(launch, disagrees, tries=5) == launch
    assert len(tried) == 5


def test_the_case_of_a_disagreement_can_be_put_into_a_file() -> None:
    launch = Drawn("Qwen/Qwen3-8B", "H200", (Part(("--hf-overrides", '{"a": 1}'), (("X", "1"),)),))
    case = tomllib.loads(rule_case(launch, "0.28.0", "breaks", "ValueError:\n no"))
    (found,) = case["breaks"]
    assert shlex.split(found["command"]) == ["X=1", *launch.words]
    assert found["vllm"] == "0.28.0"


def test_the_record_counts_every_launch_and_shows_the_smallest_disagreement() -> None:
    puppet = Puppet(accepts)
    (record,) = probe(puppet, load_release("0.28.0"), lambda _: None, count=120, seed=5)  # type: ignore[arg-type]
    said = record.answer
    assert (record.part, record.subject, record.question) == ("draws", "seed/5", {"count": 120, "seed": 5})
    told = sum(said["not askable"].values()) + sum(said["explained"].values())
    assert said["agreed"] + said["disagreed"] + told <= 120
    assert said["disagreed"] == sum(each["launches"] for each in said["disagreements"])
    assert said["disagreed"] > 20, "a release that accepts everything contradicts us"
    assert said["accepted"] == said["agreed"] > 40
    assert all("vllm serve" in each["command"] for each in said["disagreements"])


def test_what_the_layers_do_not_depend_on_is_asked_once() -> None:
    asker = asker_of(accepts)
    sizes = ("--tensor-parallel-size", "4"), ("-tp", "4"), ("--tensor-parallel-size=4",)
    drawn = [Drawn("Qwen/Qwen3-8B", "H200", (Part(words), Part(("--seed", str(n))))) for n, words in enumerate(sizes)]
    assert {each.agreement.grade for each in asker.ask(drawn)} == {Grade.AGREE}
    asked = asker.session.asked  # type: ignore[attr-defined]
    assert [question["weights"] for question in asked] == [False, False, False, True]


def test_a_crash_is_no_verdict() -> None:
    def crashes(question: Mapping[str, Any]) -> Reply:
        if question["weights"]:
            return Reply(None, WorkerError("WorkerCrashed", "the worker ended"), None, 0.0)
        return accepts(question)

    found = asker_of(crashes).one(Drawn("Qwen/Qwen3-8B", "H200", ()))
    assert found.grade is Grade.NOT_ASKABLE
    assert "WorkerCrashed" in found.why


GROUP, GROUPS = 12, 16


@pytest.mark.probe
def test_the_release_agrees_on_drawn_launches(release_session: Session, probed_release: Release) -> None:
    """Config and layers of every drawn launch: refused or accepted as we say, values as we say.

    What disagrees is made smaller part by part (:func:`shrink`): that asks the release far less often than Hypothesis
    would, which knows nothing of parts.
    """
    asker = Asker(release_session, probed_release)
    seen: list[Grade] = []

    @given(st.lists(launches(probed_release), min_size=GROUP, max_size=GROUP))
    @settings(max_examples=GROUPS, deadline=None, phases=(Phase.generate,), print_blob=False)
    def agrees(group: list[Drawn]) -> None:
        asked = asker.ask(group)
        seen.extend(each.agreement.grade for each in asked)
        for each in disagreements(asker, asked):
            pytest.fail(f"{each.why}\n{each.error}\n\n{each.case}", pytrace=False)

    agrees()
    assert len(seen) >= GROUP * GROUPS // 2
    assert seen.count(Grade.AGREE) > 0.9 * len(seen), "what cannot be told must not crowd out what can"


@pytest.mark.probe
def test_a_rule_that_is_missing_is_found(
    release_session: Session, probed_release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof can fail: without any one rule, launches that it alone foretells are refused and not foretold."""
    asker = Asker(release_session, probed_release)
    drawn = list(seeded(probed_release, 60, 11))
    before = asker.ask(drawn)
    found = summary(60, 11, before, ())
    foretold: dict[str, int] = found["foretold"]
    missing = max(foretold, key=lambda rule: foretold[rule])
    kept = tuple(rule for rule in all_rules() if rule.id != missing)
    assert len(kept) == len(all_rules()) - 1
    monkeypatch.setattr(qcmatrix.assess, "all_rules", lambda: kept)
    monkeypatch.setattr(agree, "_assessors", {})
    after = asker.ask(drawn)
    assert sum(each.agreement.grade is Grade.DISAGREE for each in after) >= foretold[missing]
    smallest = disagreements(asker, after)
    assert all(len(each.smallest.parts) <= 4 for each in smallest)
    assert any(f'vllm = "{probed_release}"' in each.case for each in smallest)
    monkeypatch.undo()
    again = {rule.id for each in smallest for rule in _refusing(asker, each.smallest)}
    assert missing in again, "the smallest launch breaks the very rule that was missing"


def _refusing(asker: Asker, launch: Drawn) -> list[Any]:
    agree._assessors.clear()
    return [found.rule for found in asker._ours(launch).findings if found.outcome is Outcome.REFUSES_TO_START]
