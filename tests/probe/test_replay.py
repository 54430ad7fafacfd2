"""The tool-call cases and their judge: a good reply passes, and each fault in it is seen."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from qcmatrix.probe.replay.cases import Case, case_digest, load_cases, load_tools
from qcmatrix.probe.replay.judge import CRASH, FAIL, PASS, SHAPE, heard, judge, shape_faults
from qcmatrix.probe.replay.modes import GROUPS, MODES, WRONG_PARSER, cases_of, modes_of

EXACT = [case for case in load_cases().values() if not case.hold and case.fill is None]
WITH_CALLS = [case for case in EXACT if case.expected]


def streamed(case: Case, width: int = 5) -> dict[str, Any]:
    """The deltas of a release without faults."""
    deltas: list[list[Any]] = []
    text = "" if case.content == "*" else case.content
    deltas += [[text[at : at + width], [], None, None] for at in range(0, len(text), width)]
    for index, call in enumerate(case.expected):
        deltas.append([None, [[index, f"call_{index}", "function", call.name, ""]], None, None])
        arguments = json.dumps(call.arguments, ensure_ascii=False)
        pieces = [arguments[at : at + width] for at in range(0, len(arguments), width)]
        deltas += [[None, [[index, None, None, None, piece]], None, None] for piece in pieces]
    finish = "stop" if case.expected_finish == "*" else case.expected_finish
    deltas.append([None, [], finish, None])
    return {"deltas": deltas}


def whole(case: Case) -> dict[str, Any]:
    """The message of a release without faults."""
    calls = [
        {"id": f"call_{n}", "type": "function", "name": call.name, "arguments": json.dumps(call.arguments)}
        for n, call in enumerate(case.expected)
    ]
    content = None if case.content in ("", "*") else case.content
    return {"message": {"content": content, "calls": calls, "finish": case.expected_finish, "reasoning": None}}


def verdict(case: Case, reply: dict[str, Any], mode: str = "t") -> str:
    return judge(case, mode, reply, whole(case)).letter


class TestCases:
    def test_there_are_many_and_each_says_where_it_comes_from(self) -> None:
        cases = load_cases()
        assert len(cases) > 120
        for case in cases.values():
            assert case.title
            assert all(url.startswith("https://") for url in case.sources)
            assert case.sources

    def test_every_tool_is_used(self) -> None:
        assert {name for case in load_cases().values() for name in case.tools} == set(load_tools())

    def test_no_two_cases_are_the_same_question_judged_alike(self) -> None:
        digests = [case_digest(case) for case in load_cases().values()]
        assert len(set(digests)) == len(digests)

    def test_say_is_written_in_the_form_of_the_model(self) -> None:
        case = load_cases()["TC-02.preamble"]
        assert case.model_output == (
            "I will look at the file first.\n<tool_call>\n<function=read_file>\n<parameter=path>\nsrc/app.py\n"
            "</parameter>\n</function>\n</tool_call>"
        )

    def test_the_digest_follows_text_and_expectation(self) -> None:
        import msgspec

        case = load_cases()["TC-06.integer"]
        for other in ({"typed": '{"i": 43}'}, {"before": "x"}, {"finish": "stop"}, {"hold": ("json",)}):
            assert case_digest(msgspec.structs.replace(case, **other)) != case_digest(case)
        assert case_digest(msgspec.structs.replace(case, title="other")) == case_digest(case)

    def test_modes(self) -> None:
        assert next(iter(MODES)) == "w"
        assert sorted("".join(GROUPS.values())) == sorted(MODES)
        assert set(modes_of(WRONG_PARSER, load_cases()["TC-01.single"])) < set(MODES)
        assert set(cases_of(WRONG_PARSER)) < set(cases_of("qwen3_coder"))
        assert all(set(modes_of("qwen3_coder", case)) <= set(MODES) for case in load_cases().values())


class TestGoodReplies:
    @pytest.mark.parametrize("case", EXACT, ids=lambda case: case.id)
    def test_pass(self, case: Case) -> None:
        assert verdict(case, whole(case), "w") == PASS
        for width in (1, 5, 10_000):
            assert verdict(case, streamed(case, width)) == PASS

    def test_arguments_as_json_are_compared_and_not_their_text(self) -> None:
        case = load_cases()["TC-16.unicode"]
        reply = whole(case)
        reply["message"]["calls"][0]["arguments"] = json.dumps(case.expected[0].arguments, indent=4)
        assert verdict(case, reply, "w") == PASS


def _drop_last_arguments(reply: dict[str, Any]) -> None:
    at = max(n for n, delta in enumerate(reply["deltas"]) if delta[1])
    del reply["deltas"][at]


def _drop_finish(reply: dict[str, Any]) -> None:
    del reply["deltas"][-1]


def _other_finish(reply: dict[str, Any]) -> None:
    reply["deltas"][-1][2] = "length"


def _leak(reply: dict[str, Any]) -> None:
    reply["deltas"].insert(0, ["<tool_call>", [], None, None])


def _phantom(reply: dict[str, Any]) -> None:
    number = 1 + max(part[0] for delta in reply["deltas"] for part in delta[1])
    reply["deltas"].insert(-1, [None, [[number, "call_x", "function", "foo", "{}"]], None, None])


def _rename(reply: dict[str, Any]) -> None:
    next(delta for delta in reply["deltas"] if delta[1])[1][0][3] += "_"


def _twice(reply: dict[str, Any]) -> None:
    at = max(n for n, delta in enumerate(reply["deltas"]) if delta[1])
    reply["deltas"].insert(at, copy.deepcopy(reply["deltas"][at]))


class TestFaults:
    """Each fault in an otherwise good stream must be seen, in every case."""

    @pytest.mark.parametrize("case", WITH_CALLS, ids=lambda case: case.id)
    @pytest.mark.parametrize(
        "fault", [_drop_last_arguments, _drop_finish, _other_finish, _leak, _phantom, _rename, _twice]
    )
    def test_wrong(self, case: Case, fault: Any) -> None:
        if fault is _leak and case.content == "*":
            pytest.skip("any text is right here")
        if fault in (_drop_finish, _other_finish) and case.expected_finish == "*":
            pytest.skip("any finish reason is right here")
        reply = streamed(case, 1)
        fault(reply)
        assert verdict(case, reply) == FAIL

    @pytest.mark.parametrize("case", WITH_CALLS, ids=lambda case: case.id)
    def test_a_value_that_is_changed(self, case: Case) -> None:
        """Spaces stripped, a newline lost, a number as text: each value in turn."""
        for number, call in enumerate(case.expected):
            for name, value in call.arguments.items():
                for other in _other_values(value):
                    reply = whole(case)
                    said = {**call.arguments, name: other}
                    reply["message"]["calls"][number]["arguments"] = json.dumps(said)
                    assert verdict(case, reply, "w") == FAIL, (name, other)
                reply = whole(case)
                said = {key: kept for key, kept in call.arguments.items() if key != name}
                reply["message"]["calls"][number]["arguments"] = json.dumps(said)
                assert verdict(case, reply, "w") == FAIL
            reply = whole(case)
            reply["message"]["calls"][number]["arguments"] = json.dumps({**call.arguments, "more": 1})
            assert verdict(case, reply, "w") == FAIL

    @pytest.mark.parametrize("case", [case for case in EXACT if not case.expected], ids=lambda case: case.id)
    def test_a_call_where_none_must_be(self, case: Case) -> None:
        reply = streamed(case)
        reply["deltas"].insert(-1, [None, [[0, "call_0", "function", "read_file", '{"path": "a"}']], None, None])
        assert verdict(case, reply) == FAIL
        if case.content != "*":
            reply = streamed(case, 1)
            del reply["deltas"][1]
            assert verdict(case, reply) == FAIL

    def test_a_crash(self) -> None:
        case = load_cases()["TC-01.single"]
        crash = {"crash": {"type": "IndexError", "text": "list index out of range"}}
        assert verdict(case, crash, "w") == CRASH
        assert verdict(case, {**streamed(case), **crash}) == CRASH

    def test_too_few_deltas_of_a_long_value(self) -> None:
        case = load_cases()["TC-29.progress"]
        assert verdict(case, streamed(case, 100)) == PASS
        assert verdict(case, streamed(case, 100_000)) == FAIL
        assert verdict(case, whole(case), "w") == PASS


def _other_values(value: Any) -> list[Any]:
    if isinstance(value, str):
        others = [value.strip(), value + "\n", value.removesuffix("\n"), value.lstrip(" "), value.replace("\r", "")]
        return [other for other in others if other != value]
    if isinstance(value, bool):
        return [str(value), int(value), None]
    if value is None:
        return ["null", "None", False, 0]
    return [json.dumps(value), None, [value]]


class TestShape:
    """Values may be right and the deltas still break a client that adds texts up."""

    def shaped(self, change: Any) -> str:
        case = load_cases()["TC-03.two"]
        reply = streamed(case)
        change([part for delta in reply["deltas"] for part in delta[1]])
        return verdict(case, reply)

    def test_id_again(self) -> None:
        assert self.shaped(lambda parts: parts[1].__setitem__(1, parts[0][1])) == SHAPE

    def test_name_again(self) -> None:
        assert self.shaped(lambda parts: parts[1].__setitem__(3, parts[0][3])) == SHAPE

    def test_no_id(self) -> None:
        assert self.shaped(lambda parts: parts[0].__setitem__(1, None)) == SHAPE

    def test_shared_id(self) -> None:
        def share(parts: list[Any]) -> None:
            for part in parts:
                part[1] = "call_0" if part[3] else None

        assert self.shaped(share) == SHAPE

    def test_gap_between_indices(self) -> None:
        def gap(parts: list[Any]) -> None:
            for part in parts:
                part[0] *= 2

        assert self.shaped(gap) == SHAPE

    def test_name_late(self) -> None:
        def late(parts: list[Any]) -> None:
            parts[1][3], parts[0][3] = parts[0][3], None

        assert self.shaped(late) == SHAPE

    def test_type_again_is_harmless(self) -> None:
        assert self.shaped(lambda parts: parts[1].__setitem__(2, "function")) == PASS

    def test_a_good_stream_has_none(self) -> None:
        assert shape_faults(streamed(load_cases()["TC-03.three"])["deltas"]) == ()


class TestHolds:
    """Cases that hold only something: that something must be able to fail."""

    def reply(self, arguments: str, name: str = "write", finish: str = "tool_calls") -> dict[str, Any]:
        return {"deltas": [[None, [[0, "call_0", "function", name, arguments]], None, None], [None, [], finish, None]]}

    def test_json(self) -> None:
        case = load_cases()["TC-12.number"]
        for text in ('{"n": NaN}', '{"n": 1e999}', '{"n": -Infinity}', '{"n": 1', "[1]", ""):
            assert judge(case, "w", self.reply(text, "typed"), self.reply(text, "typed")).letter == FAIL
        assert judge(case, "w", self.reply('{"n": "NaN"}', "typed"), {}).letter == PASS

    def test_same(self) -> None:
        case = load_cases()["TC-13.python-object"]
        one, two = self.reply('{"o": {"a": true}}', "typed"), self.reply('{"o": {"a": 1}}', "typed")
        assert judge(case, "t", one, one).letter == PASS
        assert judge(case, "t", one, two).letter == FAIL
        assert judge(case, "t", one, self.reply('{"o": {"a": true}}', "typed", "stop")).letter == FAIL

    def test_names_and_calls(self) -> None:
        case = load_cases()["TC-19.function-end"]
        good, other = self.reply('{"path": "a"}'), self.reply('{"path": "a"}', "read_file")
        assert judge(case, "t", good, good).letter == PASS
        assert judge(case, "t", other, other).letter == FAIL
        case = load_cases()["TC-12.fraction-for-integer"]
        for text, letter in (('{"i": 3.5}', PASS), ('{"n": 3.5}', FAIL)):
            assert judge(case, "t", self.reply(text, "typed"), self.reply(text, "typed")).letter == letter

    def test_incomplete_and_finish(self) -> None:
        case = load_cases()["TC-30.in-value-incomplete"]
        assert judge(case, "w", self.reply('{"path": "a.py"}', finish="length"), {}).letter == FAIL
        assert judge(case, "w", self.reply('{"path": "a.py", "con', finish="length"), {}).letter == PASS
        case = load_cases()["TC-30.in-value"]
        assert judge(case, "w", self.reply("{", finish="length"), {}).letter == PASS
        assert judge(case, "w", self.reply("{", finish="tool_calls"), {}).letter == FAIL

    def test_first(self) -> None:
        case = load_cases()["TC-30.second-call"]
        good = self.reply('{"path": "a.py"}', "read_file", "length")
        assert judge(case, "t", good, good).letter == PASS
        bad = self.reply('{"path": "b.py"}', "read_file", "length")
        assert judge(case, "t", bad, bad).letter == FAIL


class TestLong:
    def test_a_long_reply_is_known_by_its_measures(self) -> None:
        import hashlib

        case = load_cases()["TC-47.long"]
        canonical = json.dumps(dict(case.expected[0].arguments), sort_keys=True, separators=(",", ":"))
        good = {
            "names": ["write"],
            "sha256": hashlib.sha256(canonical.encode()).hexdigest(),
            "characters": 1,
            "deltas": 1,
            "largest": 1,
            "finish": "tool_calls",
            "content": "",
        }
        assert judge(case, "l", {"compact": good}, {}).letter == PASS
        for name, value in (("names", []), ("sha256", None), ("sha256", "0"), ("finish", "stop")):
            assert judge(case, "l", {"compact": {**good, name: value}}, {}).letter == FAIL


def test_what_a_client_hears() -> None:
    case = load_cases()["TC-03.two"]
    told = heard(streamed(case))
    assert [json.loads(call.arguments) for call in told.calls] == [dict(call.arguments) for call in case.expected]
    assert told.finish == "tool_calls"
    assert not told.faults
