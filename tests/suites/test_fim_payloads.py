"""The requests of clients, as they are in the clients' sources."""

from __future__ import annotations

import yaml

from qcmatrix.clients import judge
from qcmatrix.suites.fim.gap import Gap, RepoFile
from qcmatrix.suites.fim.payloads import (
    CONTINUE_COMMON_STOPS,
    CONTINUE_QWEN_STOPS,
    SEED_TEMPLATES,
    STOP_MARKERS,
    ZED_STOPS,
    chat,
    continue_autocomplete,
    llama_vscode,
    psm,
    raw,
    repo_level,
    wrapped,
    zed,
)

GAP = Gap(
    id="python/own", language="python", path="src/a.py", prefix="a = ", suffix="\nprint(a)\n", middle="1", expect=()
)
PSM = "<|fim_prefix|>a = <|fim_suffix|>\nprint(a)\n<|fim_middle|>"
GUIDE = """\
promptTemplates:
  autocomplete: |
    `<|im_start|>system
    You are a code completion assistant.<|im_end|>
    <|im_start|>user
    <|fim_prefix|>{{{prefix}}}<|fim_suffix|>{{{suffix}}}<|fim_middle|><|im_end|>
    <|im_start|>assistant
    `
"""


def test_continue_as_installed() -> None:
    body = continue_autocomplete(GAP).body
    assert body["prompt"] == PSM
    assert body["stop"] == [*CONTINUE_QWEN_STOPS, *CONTINUE_COMMON_STOPS]
    assert len(body["stop"]) == 12 == judge._CONTINUE_STOPS
    assert (body["temperature"], body["stream"]) == (0.01, True)


def test_continue_with_four_stop_words_keeps_the_ones_for_filling_in() -> None:
    assert continue_autocomplete(GAP, max_stop_words=4).body["stop"] == list(ZED_STOPS)


def test_continue_with_a_template_sends_its_common_stops_only() -> None:
    body = continue_autocomplete(GAP, template=SEED_TEMPLATES["clean"]).body
    assert body["stop"] == list(CONTINUE_COMMON_STOPS)
    assert "<|im_start|>user\n<|fim_prefix|>\n# src/a.py\na = <|fim_suffix|>" in body["prompt"]
    assert body["prompt"].endswith("<|im_start|>assistant\n")


def test_continue_sends_a_line_feed_for_an_empty_suffix() -> None:
    bare = Gap(id="python/own", language="python", path="a.py", prefix="a", suffix="", middle="", expect=())
    assert continue_autocomplete(bare).body["prompt"] == psm("a", "\n")


def test_templates_of_guides() -> None:
    read = yaml.safe_load(GUIDE)["promptTemplates"]["autocomplete"]
    assert SEED_TEMPLATES["back-ticks"] == read
    assert SEED_TEMPLATES["indented"].replace("\n" + " " * 8, "\n") == read
    assert wrapped(SEED_TEMPLATES["clean"], GAP).count(PSM) == 1


def test_the_repository_form() -> None:
    files = (RepoFile(path="b.py", text="B = 2\n"),)
    assert (
        repo_level("shop", files, GAP) == f"<|repo_name|>shop\n<|file_sep|>b.py\nB = 2\n\n<|file_sep|>src/a.py\n{PSM}"
    )


def test_zed_and_llama_vscode() -> None:
    assert "temperature" not in zed(GAP).body
    assert zed(GAP).body["stop"] == list(ZED_STOPS)
    body = llama_vscode(GAP).body
    assert "stop" not in body
    assert (body["temperature"], body["top_p"], body["prompt"]) == (0.1, 0.99, PSM)


def test_the_request_to_recommend_leaves_nothing_open() -> None:
    body = raw(PSM, [1, 2]).body
    assert body["max_tokens"] == 128
    assert body["repetition_penalty"] == 1.0
    assert body["stop_token_ids"] == [1, 2]
    assert {*STOP_MARKERS, *body["stop"]} >= {*CONTINUE_QWEN_STOPS} - {"<|im_start|>"}


def test_the_chat_form_leaves_the_turns_to_the_server() -> None:
    messages = chat(GAP).body["messages"]
    assert [each["role"] for each in messages] == ["system", "user"]
    assert messages[1]["content"] == PSM
