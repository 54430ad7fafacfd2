"""Conversations with earlier calls: what the prompt must show of them, and that the judge sees it missing."""

from __future__ import annotations

import contextlib
import json

import pytest

from qcmatrix.catalogue.releases import Release
from qcmatrix.probe.parts import prompts
from qcmatrix.probe.replay.history import HistoryCase, history_digest, judge_prompt, load_history, template
from qcmatrix.probe.replay.judge import CRASH, FAIL, PASS
from qcmatrix.probe.session import Session

CASES = list(load_history().values())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
class TestCase:
    def test_is_a_conversation(self, case: HistoryCase) -> None:
        roles = [message["role"] for message in case.messages]
        assert roles[0] == roles[-1] == "user"
        assert roles[1] == "assistant"
        calls = case.messages[1].get("tool_calls") or []
        assert roles.count("tool") == len(calls)
        assert [call["id"] for call in calls] == [m["tool_call_id"] for m in case.messages if m["role"] == "tool"]
        assert case.title
        assert all(url.startswith("https://") for url in case.sources)
        assert case.sources

    def test_shown_in_order(self, case: HistoryCase) -> None:
        assert case.shows
        prompt = " ".join(case.shows)
        assert judge_prompt(case, {"prompt": prompt}).letter == PASS
        for missing in range(len(case.shows)):
            shorter = " ".join(text for number, text in enumerate(case.shows) if number != missing)
            assert judge_prompt(case, {"prompt": shorter}).letter == FAIL
        if len(case.shows) > 1:
            assert judge_prompt(case, {"prompt": " ".join(reversed(case.shows))}).letter == FAIL

    def test_an_error(self, case: HistoryCase) -> None:
        error = {"error": {"type": "JSONDecodeError", "text": "Expecting value"}, "stage": "messages"}
        verdict = judge_prompt(case, error)
        assert verdict.letter == CRASH
        assert "messages: JSONDecodeError" in verdict.seen

    def test_digest(self, case: HistoryCase) -> None:
        import msgspec

        assert history_digest(case) == history_digest(msgspec.structs.replace(case, title="other"))
        assert history_digest(case) != history_digest(msgspec.structs.replace(case, shows=("other",)))


def test_poisoned_histories_are_no_json_objects() -> None:
    for case in CASES:
        if case.id.startswith("TC-40"):
            assert case.arguments is not None
            with contextlib.suppress(ValueError):
                assert not isinstance(json.loads(case.arguments), dict)
        elif case.arguments is not None:
            assert isinstance(json.loads(case.arguments), dict)


def test_the_template_has_the_traits_of_the_family() -> None:
    text = template()
    for trait in ("<tool_call>", "<function=", "<parameter=", "<tool_response>", "tojson", "| string"):
        assert trait in text


@pytest.mark.probe
def test_a_real_release_renders_them(release_session: Session, probed_release: Release) -> None:
    (record,) = prompts.probe(release_session, probed_release)
    assert record.answer is not None, record.not_askable
    verdicts = {name.partition("#")[0]: letter for name, letter in record.answer["verdicts"].items()}
    assert set(verdicts) == set(load_history())
    # Whatever a release does to broken arguments: sound ones reach the template as they were sent.
    wrong = {name: letter for name, letter in verdicts.items() if name.startswith("TC-39") and letter != PASS}
    assert not wrong, record.answer["seen"]
