"""Comparing our verdict with a release's: what counts as agreement, and what does not."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.models import find_checkpoint
from qcmatrix.catalogue.releases import load_release
from qcmatrix.probe.agree import Grade, Ours, Words, agreement, ours, question_for
from qcmatrix.probe.exceptions import EXPLAINED, NEEDS_THE_DEVICE, OLD_ENGINE
from qcmatrix.rules import all_rules

CODER = "Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8"
CUT = (
    "ValueError",
    "The output_size of gate's and up's weight = 320 is not divisible by weight quantization block_n = 128.",
)


def said(command: str, vllm: str = "0.28.0", gpus: str = "8xH200", env: dict[str, str] | None = None) -> Ours:
    (fleet,) = parse_fleet(gpus)
    words = shlex.split(command)
    model = next(word for word in words if word.startswith("Qwen/"))
    return ours(words, find_checkpoint(model), fleet, load_release(vllm), env=env)


def refusal(kind: str, text: str, stage: str = "config") -> dict[str, Any]:
    return {"stage": stage, "error": {"type": kind, "text": text}}


def test_both_accept() -> None:
    mine = said(f"vllm serve {CODER} -tp 8 --enable-expert-parallel --max-model-len 8192")
    found = agreement(mine, {"stage": "ok", "resolved": {"max_model_len": 8192, "max_num_seqs": 1024}})
    assert (found.grade, found.refused) == (Grade.AGREE, False)


def test_both_refuse_with_the_words_foretold() -> None:
    mine = said(f"vllm serve {CODER} -tp 8")
    found = agreement(mine, refusal(*CUT, stage="weights"))
    assert (found.grade, found.words, found.refused) == (Grade.AGREE, Words.SAME, True)
    assert found.rules == ("fp8-block-cut-by-tensor-parallel",)


def test_both_refuse_with_other_words_is_the_weaker_grade() -> None:
    found = agreement(said(f"vllm serve {CODER} -tp 8"), refusal("ValueError", "something else"))
    assert (found.grade, found.words) == (Grade.AGREE, Words.OTHER)


@pytest.mark.parametrize("kind", ["NameError", "ImportError", "TypeError"])
def test_a_breakage_is_no_agreement_unless_its_words_are_foretold(kind: str) -> None:
    found = agreement(said(f"vllm serve {CODER} -tp 8"), refusal(kind, "name '_validate' is not defined"))
    assert found.grade is Grade.DISAGREE


def test_words_of_ours_may_leave_out_what_changes() -> None:
    mine = said("vllm serve Qwen/Qwen3-Coder-Next -tp 6", vllm="0.32.0")
    found = agreement(mine, refusal("ValidationError", "Assertion failed,\n  8192 is not\n divisible by 6"))
    assert found.words is not None


def test_refused_and_not_foretold() -> None:
    mine = said(f"vllm serve {CODER} -tp 8 --enable-expert-parallel")
    found = agreement(mine, refusal("ValueError", "no"))
    assert (found.grade, found.error) == (Grade.DISAGREE, "ValueError: no")


def test_accepted_and_we_say_refused() -> None:
    found = agreement(said(f"vllm serve {CODER} -tp 8"), {"stage": "ok", "resolved": {}})
    assert found.grade is Grade.DISAGREE
    assert "320" in found.why


def test_accepted_without_weights_proves_nothing_wrong() -> None:
    found = agreement(said(f"vllm serve {CODER} -tp 8"), {"stage": "ok", "resolved": {}}, weights=False)
    assert found.grade is Grade.NOT_ASKABLE


@pytest.mark.parametrize(
    ("resolved", "differs"),
    [
        ({"max_model_len": 8193}, "max_model_len"),
        ({"max_num_seqs": 7}, "max_num_seqs"),
        ({"max_num_batched_tokens": 7}, "max_num_batched_tokens"),
        ({"enable_chunked_prefill": False}, "enable_chunked_prefill"),
        ({"block_size": 64}, "block_size"),
        ({"rotary": {"class": "RotaryEmbedding", "base": 10000.0}}, "rotary base"),
    ],
)
def test_resolved_values_count(resolved: dict[str, Any], differs: str) -> None:
    mine = said(f"vllm serve {CODER} -tp 8 --enable-expert-parallel --max-model-len 8192 --block-size 32")
    found = agreement(mine, {"stage": "ok", "resolved": resolved})
    assert found.grade is Grade.DISAGREE
    assert differs in found.why


def test_the_position_encoding_counts() -> None:
    yarn = (
        '{"rope_parameters":{"rope_type":"yarn","factor":2.0,"original_max_position_embeddings":262144,'
        '"rope_theta":10000000}}'
    )
    mine = said(f"vllm serve {CODER} -tp 8 --enable-expert-parallel --hf-overrides '{yarn}'")
    right = {"class": "YaRNScalingRotaryEmbedding", "base": 1e7, "positions": 524288}
    for change, differs in (({}, ""), ({"class": "RotaryEmbedding"}, "scaled"), ({"positions": 262144}, "reach")):
        found = agreement(mine, {"stage": "ok", "resolved": {"rotary": {**right, **change}}})
        assert found.grade is (Grade.DISAGREE if differs else Grade.AGREE), found
        assert differs in found.why


def test_under_auto_the_length_is_not_compared() -> None:
    mine = said(f"vllm serve {CODER} -tp 8 --enable-expert-parallel --max-model-len -1")
    assert agreement(mine, {"stage": "ok", "resolved": {"max_model_len": 4096}}).grade is Grade.AGREE


def test_what_is_unknown_stays_unknown() -> None:
    mine = said(f"vllm serve {CODER} -tp 8 --enable-expert-parallel --quantization humming", vllm="0.33.0")
    assert agreement(mine, {"stage": "ok", "resolved": {}}).grade is Grade.UNKNOWN
    assert agreement(mine, refusal("ValueError", "x")).grade is Grade.UNKNOWN


def test_unknown_hides_no_wrong_refusal() -> None:
    mine = said(f"vllm serve {CODER} -tp 5 --enable-expert-parallel --quantization humming", vllm="0.33.0")
    assert agreement(mine, {"stage": "ok", "resolved": {}}).grade is Grade.DISAGREE


def test_not_askable() -> None:
    mine = said(f"vllm serve {CODER} -tp 8 --enable-expert-parallel")
    for found in (
        agreement(mine, None, not_askable="needs a GPU"),
        agreement(mine, None, error="TimedOut: no answer within 60 s"),
        agreement(mine, {**refusal("RuntimeError", "driver"), "not_askable": "it talks to the CUDA driver"}),
        agreement(mine, refusal("ValueError", "Failed to import Ray")),
    ):
        assert found.grade is Grade.NOT_ASKABLE
        assert found.why


def test_an_explained_difference_needs_its_rule() -> None:
    override = '{"rope_scaling":{"rope_type":"yarn","factor":2.0,"original_max_position_embeddings":262144}}'
    text = "unsupported operand type(s) for ** or pow(): 'NoneType' and 'Tensor'"
    with_rule = said(f"vllm serve {CODER} -tp 8 --enable-expert-parallel --hf-overrides '{override}'", vllm="0.29.0")
    without = said(f"vllm serve {CODER} -tp 8 --enable-expert-parallel", vllm="0.29.0")
    assert agreement(with_rule, refusal("TypeError", text)).grade is Grade.EXPLAINED
    assert agreement(without, refusal("TypeError", text)).grade is Grade.DISAGREE


def test_exceptions_name_rules_that_exist() -> None:
    known = {rule.id for rule in all_rules()}
    assert {rule for item in EXPLAINED for rule in item.rules} | {item.rule for item in NEEDS_THE_DEVICE} <= known
    assert known >= OLD_ENGINE
    assert all(item.link.startswith("https://") and item.why for item in EXPLAINED)


@pytest.mark.parametrize(
    ("command", "argv"),
    [
        (f"vllm serve {CODER} -tp 8", ["{model}", "-tp", "8"]),
        (f"FOO=1 vllm serve --model {CODER} -tp 8", ["--model", "{model}", "-tp", "8"]),
        (f"vllm serve --model={CODER} -tp 8", ["--model={model}", "-tp", "8"]),
        (
            f"vllm serve -tp 8 {CODER} --served-model-name {CODER}",
            ["-tp", "8", "{model}", "--served-model-name", CODER],
        ),
        (
            f"python -m vllm.entrypoints.openai.api_server --port 1 --model {CODER} -tp 8",
            ["{model}", "--port", "1", "-tp", "8"],
        ),
        (f"docker run --gpus all vllm/vllm-openai:v0.28.0 {CODER} -tp 8", ["{model}", "-tp", "8"]),
    ],
)
def test_question(command: str, argv: list[str]) -> None:
    (fleet,) = parse_fleet("2x8xH200")
    asked = question_for(shlex.split(command), find_checkpoint(CODER), fleet, load_release("0.28.0"), env={"BAR": "2"})
    assert asked["argv"] == argv
    assert asked["config"] == CODER
    assert asked["env"]["BAR"] == "2"
    assert asked["gpu"] == {
        "name": "NVIDIA H200",
        "capability": [9, 0],
        "memory_bytes": int(139.8 * 2**30),
        "count": 8,
    }
