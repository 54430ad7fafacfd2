"""Compose files, manifests, chart values, workflows: the words, their places, and YAML that means harm."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcmatrix.documents.yaml_tree import YamlProblemError, read_yaml

_SPEC = importlib.util.spec_from_file_location("documents_reading", Path(__file__).parent / "reading.py")
assert _SPEC is not None
assert _SPEC.loader is not None
reading = importlib.util.module_from_spec(_SPEC)
sys.modules["documents_reading"] = reading
_SPEC.loader.exec_module(reading)
only = reading.only
read = reading.read
words = reading.words
written = reading.written


IMAGE = "vllm/vllm-openai:v0.33.0"
RUN = f"docker run {IMAGE}"
COMPOSE = f"services:\n  v:\n    image: {IMAGE}\n"
POD = f"apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: v\n    image: {IMAGE}\n"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("command: --model m --a 1", f"{RUN} --model m --a 1"),
        ("command: >\n      --model m\n      --a 1", f"{RUN} --model m --a 1"),
        ("command: >-\n      --model m\n\n      --a 1", f"{RUN} --model m --a 1"),
        ("command: |\n      --model m\n      --a 1\n", f"{RUN} --model m --a 1"),
        ('command: ["--model", "m", "--a", "1"]', f"{RUN} --model m --a 1"),
        ("command:\n    - --model\n    - m\n    - '--a'\n    - \"1\"", f"{RUN} --model m --a 1"),
        ("command: \"--model 'm n' --a 1\"", f"{RUN} --model m n --a 1"),
        ("command: --model ${M:-m} --a ${A-1}", f"{RUN} --model m --a 1"),
        ("command: --model ${M} --a $$1", f"{RUN} --model ${{M}} --a $1"),
        ("entrypoint: vllm serve\n    command: m --a 1", "vllm serve m --a 1"),
        ('entrypoint: ["vllm", "serve", "m"]\n    command: ["--a", "1"]', "vllm serve m --a 1"),
        ('entrypoint: ["sh", "-c"]\n    command: ["vllm serve m --a 1"]', "vllm serve m --a 1"),
        ("command: bash -c 'vllm serve m --a 1'", "vllm serve m --a 1"),
        ("command: vllm serve m --a 1", "vllm serve m --a 1"),
    ],
)
def test_the_forms_of_a_compose_command(command: str, expected: str) -> None:
    assert words("compose.yaml", f"{COMPOSE}    {command}\n") == expected


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_places_hold_with_any_line_end_and_a_byte_order_mark(end: str, mark: str) -> None:
    text = mark + f"# 北京\n{COMPOSE}    command:\n      - --model=m\n      - '--a'\n      - \"1\"\n".replace("\n", end)
    assert written("compose.yaml", text) == ["--model=m", "'--a'", '"1"']


def test_places_in_a_folded_text_with_escapes() -> None:
    text = COMPOSE + '    command: "--model \\"m\\" \\\n      --a \\u0031"\n'
    assert words("compose.yaml", text) == f"{RUN} --model m --a 1"
    assert written("compose.yaml", text)[-1] == "\\u0031"


def test_what_the_service_says_beside_the_command() -> None:
    text = (
        COMPOSE + "    command: --model m\n    environment:\n    - A=1\n    - B=${B}\n    deploy:\n      resources:\n"
        "        reservations:\n          devices:\n          - {driver: nvidia, count: 4, capabilities: [gpu]}\n"
    )
    command = only("compose.yaml", text)
    assert {name: (word.text, word.resolved) for name, word in command.env.items()} == {
        "A": ("1", True),
        "B": ("${B}", False),
    }
    assert (command.gpus, command.release_hint, command.contained) == (4, "0.33.0", True)


def test_merged_mappings_are_there_and_own_keys_win() -> None:
    text = (
        f"x: &x\n  image: {IMAGE}\n  environment: &e {{A: '1', B: '2'}}\nservices:\n  v:\n    <<: *x\n"
        "    environment: {<<: *e, A: '3'}\n    command: --model m\n"
    )
    command = only("compose.yaml", text)
    assert command.release_hint == "0.33.0"
    assert {name: word.text for name, word in command.env.items()} == {"A": "3", "B": "2"}


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        ('    args: ["--model", "m"]\n', f"{RUN} --model m"),
        ("    args: [m, --a=1]\n", f"{RUN} m --a=1"),
        ('    command: ["vllm", "serve", "$(M)"]\n    env: [{name: M, value: m}]\n', "vllm serve m"),
        ('    command: [sh, -c]\n    args: ["exec vllm serve m --a 1"]\n', "vllm serve m --a 1"),
        ("    command:\n    - bash\n    - -c\n    - |\n      set -e\n      vllm serve m \\\n        --a 1\n",
         "vllm serve m --a 1"),
        ("    command: [python3, -m, vllm.entrypoints.openai.api_server]\n    args: [--model, m]\n",
         "python3 -m vllm.entrypoints.openai.api_server --model m"),
    ],
)  # fmt: skip
def test_the_forms_of_a_container(pod: str, expected: str) -> None:
    found = words("pod.yaml", POD + pod)
    assert found.removeprefix("exec ") == expected


@pytest.mark.parametrize(
    "text",
    [
        POD,  # no words: whatever the image does by itself
        POD.replace("vllm-openai", "vllm-router") + "    args: [--port, '1']\n",
        POD.replace(IMAGE, "fluent-bit:3") + "    args: [--config, /etc/vllm.conf]\n",
        POD.replace(IMAGE, "busybox") + "    command: [sh, -c, 'echo vllm serve m']\n",
        "services:\n  v:\n    image: vllm/vllm-openai\n    command: 5\n    environment: [1, {a: b}, null]\n",
        "services: vllm\n",
        "- vllm\n- serve\n",
        "run: [[vllm serve m]]\n",
        "name: vllm serve m\nmsg: vllm serve m\n",
    ],
)
def test_no_server(text: str) -> None:
    assert read("a.yaml", text).commands == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jobs:\n  a:\n    steps:\n    - run: vllm serve m --a 1 &\n", "vllm serve m --a 1"),
        ("jobs:\n  a:\n    steps:\n    - run: |\n        X=m\n        vllm serve $X\n", "vllm serve m"),
        ("a:\n  script:\n  - vllm serve m\n", "vllm serve m"),
        ("run: vllm serve ${{ matrix.m }} --a 1\n", "vllm serve ${{ matrix.m }} --a 1"),
        ("- ansible.builtin.shell: nohup vllm serve m &\n", "nohup vllm serve m"),
    ],
)
def test_scripts_of_workflows(text: str, expected: str) -> None:
    assert words("a.yml", text) == expected


def test_what_a_step_sets() -> None:
    text = f"a:\n  image: {IMAGE}\n  variables: {{VLLM_USE_V1: '0'}}\n  script: [vllm serve m]\n"
    command = only("a.yml", text)
    assert command.release_hint == "0.33.0"
    assert command.env["VLLM_USE_V1"].text == "0"


def test_a_template_is_said_to_be_none() -> None:
    document = read("t.yaml", "kind: Pod\nname: {{ .Name }}-vllm\n")
    assert "template" in document.notes[0].text


BOMB = "a: &a [vllm]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(20)
)
MERGES = "x0: &m0 {a: vllm}\n" + "".join(
    f"x{i}: &m{i} {{<<: [*m{i - 1}, *m{i - 1}, *m{i - 1}], b{i}: 2}}\n" for i in range(1, 300)
)


@pytest.mark.parametrize(
    ("text", "found", "says"),
    [
        (BOMB + COMPOSE + "    command: --model m\n", 1, ""),
        (MERGES + COMPOSE + "    command: --model m\n", 1, ""),
        ("a: &a\n  <<: *a\n  vllm: *a\n  run: vllm serve m\n", 1, ""),
        ("a: " + "[" * 200 + "vllm" + "]" * 200, 0, "nested more than"),
        ("a: " + "{a: " * 200 + "vllm" + "}" * 200, 0, "nested more than"),
        ("- " * 200 + "vllm\n", 0, "nested more than"),
        ("".join("  " * i + "k:\n" for i in range(300)) + "  " * 300 + "run: vllm serve m", 0, "nested more than"),
        ("a:\n\t- vllm serve\n", 0, "not YAML"),
        ("a: *vllm\n", 0, "not YAML"),
        ("a: 'vllm\n", 0, "not YAML"),
        ("vllm: \x01\n", 0, "not YAML"),
        ("# vllm\n" + "a: 1\n" * 1_000_000, 0, "more than"),
    ],
    ids=["bomb", "merges", "recursive", "flow", "flow-map", "dashes", "block", "tab", "alias", "quote", "control",
         "large"],
)  # fmt: skip
def test_yaml_that_means_harm_is_bounded_and_told(text: str, found: int, says: str) -> None:
    before = time.process_time()
    document = read("a.yaml", text)
    assert time.process_time() - before < 5
    assert len(document.commands) == found
    assert says in " ".join(note.text for note in document.notes)


def test_what_stands_before_the_problem_is_kept() -> None:
    document = read("a.yaml", f"{COMPOSE}    command: --model m\n---\na: *none\n")
    assert len(document.commands) == 1
    assert document.notes


@given(st.text(st.sampled_from("abm:-[]{}&*<>|'\"$\\,#!%@ \t\r\n0é北"), max_size=80))
def test_any_text_is_read_or_told(text: str) -> None:
    read("a.yaml", f"vllm: 1\n{text}")
    read("a.yaml", f"{COMPOSE}    command: {text}")
    read("a.yaml", f"run: |\n  vllm serve {text}")
    with contextlib.suppress(YamlProblemError):
        list(read_yaml(text))


@given(st.binary(max_size=60))
def test_any_bytes_in_a_quoted_command_keep_their_places(data: bytes) -> None:
    text = data.decode("utf-8", "replace").replace("\0", "")
    read("compose.yaml", f'{COMPOSE}    command: "--model {text}"\n')


def predictor(uri: str, arguments: str, form: str = "vLLM") -> str:
    return (
        "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nspec:\n  predictor:\n    model:\n"
        f"      modelFormat: {{name: {form}}}\n      storageUri: {uri}\n      args: [{arguments}]\n"
        '      resources: {limits: {nvidia.com/gpu: "4"}}\n'
    )


def test_a_predictor_of_kserve() -> None:
    command = only("a.yaml", predictor("hf://org/name", "--max-model-len=4096"))
    assert [word.text for word in command.words] == ["vllm", "serve", "org/name", "--max-model-len=4096"]
    assert (command.gpus, command.words[2].resolved) == (4, True)
    elsewhere = only("a.yaml", predictor("s3://b/x", "--max-model-len=4096"))
    assert not elsewhere.words[2].resolved
    named = only("a.yaml", predictor("s3://b/x", "--model=m, --tensor-parallel-size=4"))
    assert [word.text for word in named.words] == ["vllm", "serve", "--model=m", "--tensor-parallel-size=4"]
    assert read("a.yaml", predictor("hf://org/name", "--backend=vllm", "huggingface")).commands == ()
