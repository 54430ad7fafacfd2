from __future__ import annotations

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcmatrix.errors import RequestError
from qcmatrix.launch.shell import split_shell, words_of

SCRIPT = """\
#!/bin/bash
# serve the coder
export VLLM_USE_DEEP_GEMM=1
MODEL="Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8"
EXTRA="--enable-expert-parallel  --port 8001"
pip install vllm==0.11.0
A=1 vllm serve "$MODEL" \\
  --tensor-parallel-size 8 \\  # not a comment in a shell, but people write it
  --hf-overrides '{"rope_parameters": {"factor": 4}}' $EXTRA --host ${HOST:-0.0.0.0} --api-key $KEY \\
  2>&1 | tee serve.log
"""


def test_a_script_as_people_write_it() -> None:
    command = split_shell(SCRIPT.replace("  # not a comment in a shell, but people write it", ""))
    assert command.argv == (
        *("vllm", "serve", "Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8", "--tensor-parallel-size", "8"),
        *("--hf-overrides", '{"rope_parameters": {"factor": 4}}'),
        *("--enable-expert-parallel", "--port", "8001", "--host", "0.0.0.0", "--api-key", "$KEY"),  # noqa: S104
    )
    assert command.env == {
        "VLLM_USE_DEEP_GEMM": "1",
        "MODEL": "Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8",
        "EXTRA": "--enable-expert-parallel  --port 8001",
        "A": "1",
    }


def test_spans_are_the_characters_of_the_text() -> None:
    text = 'A="b c" vllm serve \\\n  "M/x" --tp\'=\'8 # end'
    command = split_shell(text)
    assert [text[span.start : span.stop] for span in command.spans] == ["vllm", "serve", '"M/x"', "--tp'='8"]
    assert command.argv == ("vllm", "serve", "M/x", "--tp=8")
    assert text[command.env_spans["A"].start : command.env_spans["A"].stop] == 'A="b c"'


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ("vllm serve M && echo done", ("vllm", "serve", "M")),
        ("cd /x; vllm serve M &", ("vllm", "serve", "M")),
        ("$ vllm serve M", ("vllm", "serve", "M")),
        ("(vllm serve M)", ("vllm", "serve", "M")),
        ("vllm serve M > log 2>&1", ("vllm", "serve", "M")),
        ("vllm serve M --x ''", ("vllm", "serve", "M", "--x", "")),
        ("vllm serve $(cat model)", ("vllm", "serve", "$(cat model)")),
        ("vllm serve M \\\r\n  --x 1\r\n", ("vllm", "serve", "M", "--x", "1")),
        ("X=; vllm serve M $X --y", ("vllm", "serve", "M", "--y")),
        ("N=8; vllm serve M '$N' \"$N\" ${N}", ("vllm", "serve", "M", "$N", "8", "8")),
    ],
)
def test_one_command_is_taken(text: str, argv: tuple[str, ...]) -> None:
    assert split_shell(text).argv == argv


@pytest.mark.parametrize("text", ["", "# only words", "A=1", "vllm serve 'M"])
def test_no_command_is_one_clear_message(text: str) -> None:
    with pytest.raises(RequestError):
        split_shell(text)


@settings(max_examples=400)
@given(st.text("ab-=/{},:. \t'\"\\~é", max_size=30))
def test_words_are_those_of_shlex(text: str) -> None:
    try:
        expected = shlex.split(text, comments=False, posix=True)
    except ValueError:
        return  # a quote that does not end, or a backslash at the end
    assert [word.text for word in words_of(text) if word is not None] == expected


def test_a_backslash_at_the_very_end_stays_inside_of_the_text() -> None:
    text = "vllm serve m --x\\"
    assert split_shell(text).spans[-1].stop == len(text)
