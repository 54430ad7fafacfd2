"""Texts of the context suite, and what is hidden in them."""

from __future__ import annotations

import random

import pytest

from qcmatrix.suites.context.boundaries import boundaries
from qcmatrix.suites.context.degeneration import broken
from qcmatrix.suites.context.prefix_cache import Said, where_parted
from qcmatrix.suites.context.pressure import Filling, filling, quantile
from qcmatrix.suites.context.stretched import questions
from qcmatrix.suites.context.texts import code_file, hidden, needles, prose_line, variable_chain


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - texts, not secrets


def test_the_same_generator_gives_the_same_text() -> None:
    one, other = seeded(3), seeded(3)
    assert [prose_line(one), code_file(one)] == [prose_line(other), code_file(other)]


def test_code_files_are_python() -> None:
    rng = seeded(5)
    for _ in range(20):
        compile(code_file(rng), "file.py", "exec")


def test_a_needle_stands_in_no_other_sentence() -> None:
    facts = needles(seeded(1), 8)
    assert len({fact.key for fact in facts}) == len({fact.place for fact in facts}) == 8
    assert not any(fact.key in prose_line(seeded(seed)) for fact in facts for seed in range(100))


def test_secrets_lie_at_their_depths() -> None:
    text = hidden([str(digit) for digit in range(10)], [(0.9, "Z"), (0.0, "A"), (0.5, "M"), (1.0, "!")])
    assert text == "A01234M5678Z9!"


def test_a_chain_names_each_variable_from_the_one_before() -> None:
    chain = variable_chain(seeded(2), 3)
    first, second, third = chain.names
    assert chain.sentences == (
        f"VAR {first} = {chain.value}.\n",
        f"VAR {second} = VAR {first}.\n",
        f"VAR {third} = VAR {second}.\n",
    )


def test_the_short_questions_have_right_answers() -> None:
    asked = questions()
    assert len(asked) == 40
    assert asked == questions()
    for question, answer in asked:
        if question.startswith("What is ") and "+" in question:
            left, right = question.removeprefix("What is ").removesuffix("?").split(" + ")
            assert int(left) + int(right) == int(answer)


def test_boundaries_lie_at_and_beside_the_multiples() -> None:
    assert boundaries((100,), 16, 200) == (15, 16, 17, 47, 48, 49, 99, 100, 101)


def test_lengths_over_the_context_are_left_out() -> None:
    assert max(boundaries((2048, 8192), 16, 8000)) == 6145


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a b " * 30, "come 21 times"),
        ("one two three", "3 words only"),
        (" ".join(f"词{number}词词词" for number in range(60)), "ASCII"),
        (" ".join(f"word{number}" for number in range(60)), ""),
    ],
)
def test_broken_answers(text: str, says: str) -> None:
    told = broken(text)
    assert says in told if says else told == ""


def said(tokens: str, *rivals: dict[str, float]) -> Said:
    known = [dict(each) for each in rivals] or [{token: -1.0} for token in tokens]
    logprobs = [known[place].get(token, -1.0) for place, token in enumerate(tokens)]
    return Said(tuple(tokens), tuple(logprobs), tuple(known), None, None)


def test_the_same_tokens_have_not_parted() -> None:
    assert where_parted(said("abc"), said("abc")) is None


def test_tokens_as_likely_as_one_another_part_by_a_tie() -> None:
    near = {"b": -1.0, "x": -1.1}
    assert where_parted(said("abc", {"a": -1}, near, {"c": -1}), said("axz", {"a": -1}, near, {"z": -1})) == 1


def test_another_token_by_far_is_told() -> None:
    cold = said("ab", {"a": -1.0}, {"b": -0.1, "x": -5.0})
    warm = said("ax", {"a": -1.0}, {"x": -0.1, "b": -5.0})
    assert where_parted(cold, warm) == "token 1 is 'x' (-0.10) instead of 'b' (-0.10)"


def test_a_tie_on_one_side_only_is_none() -> None:
    cold = said("b", {"b": -1.0, "x": -1.05})
    warm = said("x", {"x": -0.1, "b": -5.0})
    assert isinstance(where_parted(cold, warm), str)


def test_a_shorter_answer_is_told() -> None:
    assert where_parted(said("abc"), said("ab")) == "2 tokens instead of 3"


def test_a_small_cache_is_filled_by_prompts_and_overrun_by_outputs() -> None:
    plan = filling(33_280, 8_192, 32)
    assert plan == Filling(32, 988, 197)
    assert plan.requests * plan.prompt <= 33_280 < plan.requests * (plan.prompt + plan.output)


@pytest.mark.parametrize(("capacity", "longest", "sequences"), [(2_097_152, 8_192, 32), (1_000, 8_192, 32)])
def test_a_cache_that_nothing_allowed_fills(capacity: int, longest: int, sequences: int) -> None:
    assert filling(capacity, longest, sequences) is None


def test_quantiles() -> None:
    assert quantile([3.0, 1.0, 2.0], 0.99) == 3.0
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.0
    assert quantile([], 0.99) == 0.0
