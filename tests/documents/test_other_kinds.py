"""Dockerfiles, units, Markdown, reStructuredText and matrix.toml: words, places, and texts that mean harm."""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


FROM = "FROM vllm/vllm-openai:v0.33.0\n"
RUN = "docker run vllm/vllm-openai:v0.33.0"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f'{FROM}CMD ["--model", "m", "--a", "1"]\n', f"{RUN} --model m --a 1"),
        (f'{FROM}CMD ["--model", "m", \\\n     "--a", "1"]\n', f"{RUN} --model m --a 1"),
        (f'{FROM}ENTRYPOINT ["vllm", "serve"]\nCMD ["m"]\n', "vllm serve m"),
        (f"{FROM}ENTRYPOINT vllm serve m \\\n  # why\n  --a 1\n", "vllm serve m --a 1"),
        (f'{FROM}CMD ["bash", "-c", "vllm serve m --a 1"]\n', "vllm serve m --a 1"),
        (f"{FROM}ARG M=m\nENV N=$M A=1\nCMD vllm serve $N --a ${{A}} --b ${{B:-2}}\n", "vllm serve m --a 1 --b 2"),
        (f"{FROM}ENV N m\nCMD vllm serve $N\n", "vllm serve m"),
        (f'{FROM}CMD ["--model", "x"]\nCMD ["--model", "m"]\n', f"{RUN} --model m"),
        ("from a\ncmd vllm serve m\n", "vllm serve m"),
    ],
)
def test_dockerfiles(text: str, expected: str) -> None:
    assert words("Dockerfile", text) == expected


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (f'{FROM}CMD ["--model", "m"]\n', "0.33.0"),
        ('ARG T=v0.20.2\nFROM vllm/vllm-openai:${T}\nCMD ["--model", "m"]\n', "0.20.2"),
        ("FROM python:3.12\nRUN pip install vllm==0.22.1\nCMD vllm serve m\n", "0.22.1"),
        ('FROM vllm/vllm-openai:v0.11.0 AS Base\nENV A=1\nFROM base\nCMD ["--model", "m"]\n', "0.11.0"),
        ('FROM rocm/vllm:rocm6.4_vllm_0.10.1_2025\nCMD ["vllm", "serve", "m"]\n', "0.10.1"),
        ('FROM nvcr.io/nvidia/vllm:25.11-py3\nCMD ["vllm", "serve", "m"]\n', None),
        ('FROM rhaiis/vllm-cuda-rhel9:3.2.5\nCMD ["vllm", "serve", "m"]\n', None),
        ('FROM --platform=linux/amd64 vllm/vllm-openai:v0.28.0 AS a\nCMD ["--model", "m"]\n', "0.28.0"),
    ],
)
def test_the_release_of_a_dockerfile(text: str, hint: str | None) -> None:
    assert only("Dockerfile", text).release_hint == hint


def test_a_stage_has_what_the_one_below_has() -> None:
    text = 'FROM vllm/vllm-openai:v0.11.0 AS base\nENV A=1\nENTRYPOINT ["vllm", "serve"]\nFROM base\nCMD ["m"]\n'
    found = read("Dockerfile", text).commands
    assert [word.text for word in found[-1].words] == ["vllm", "serve", "m"]
    assert found[-1].env["A"].text == "1"
    assert len(read("Dockerfile", f"{text}FROM base\nFROM base AS last\n").commands) == len(found)


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\nRUN echo vllm serve m\n",
        "FROM a\n# CMD vllm serve m\n",
        f"{FROM}CMD [}}\n",
        f"{FROM}CMD\n",
        f"{FROM}ENV\n",
    ],
)
def test_dockerfiles_without_a_server(text: str) -> None:
    assert read("Dockerfile", text).commands == ()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ExecStart=/x/vllm serve m --a 1", "/x/vllm serve m --a 1"),
        ("ExecStart=-/x/vllm serve m \\\n   --a 1", "/x/vllm serve m --a 1"),
        ("ExecStart = /bin/sh -c 'exec /x/vllm serve m'", "exec /x/vllm serve m"),
        ("ExecStart=/x/vllm serve m --a %i", "/x/vllm serve m --a %i"),
        ("ExecStart=/x/vllm serve m \\\n# why\n ; and\n   --a 1", "/x/vllm serve m --a 1"),
        ("ExecStart=/x/vllm serve m --a $B --b x${B}", "/x/vllm serve m --a 3 --b x3"),
        ("ExecStart=/x/vllm serve m --a ${A}%i", "/x/vllm serve m --a ${A}%i"),
    ],
)
def test_units(line: str, expected: str) -> None:
    text = f'[Service]\nEnvironment="A=1 2" B=3\n{line}\n'
    assert words("a.service", text) == expected
    command = only("a.service", text)
    assert {name: word.text for name, word in command.env.items()} == {"A": "1 2", "B": "3"}
    assert all(word.resolved == ("%" not in word.text) for word in command.words)


def test_a_unit_s_variables_have_bounded_room() -> None:
    value, uses = "x" * 20_000, "${A}" * 2_000
    command = only("a.service", f"[Service]\nEnvironment=A={value}\nExecStart=/x/vllm serve m --a {uses}\n")
    assert len(command.words[-1].text) < 200_000
    assert not command.words[-1].resolved


def test_a_unit_that_starts_no_server() -> None:
    assert read("a.service", "[Unit]\nDescription=vllm serve m\n[Service]\nExecStop=/bin/kill vllm\n").commands == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("```bash\nvllm serve m \\\n  --a 1\n```\n", ["vllm", "serve", "m", "--a", "1"]),
        ("~~~\n$ vllm serve m\n~~~\n", ["vllm", "serve", "m"]),
        ("1. a\n\n   ```{.bash}\n   vllm serve m \\\n     --a 1\n   ```\n", ["vllm", "serve", "m", "--a", "1"]),
        ("> ```sh\n> vllm serve m \\\n>   --a 1\n> ```\n", ["vllm", "serve", "m", "--a", "1"]),
        ("- a\n\t```sh\n\tvllm serve m\n\t```\n", ["vllm", "serve", "m"]),
        ("启动\n\n    vllm serve 模型 --a 1\n", ["vllm", "serve", "模型", "--a", "1"]),
        ("```sh\nvllm serve m\n", ["vllm", "serve", "m"]),
        ("```yaml\nrun: vllm serve m\n```\n", ["vllm", "serve", "m"]),
        ("```dockerfile\nFROM a\nCMD vllm serve m\n```\n", ["vllm", "serve", "m"]),
        ("```bat\nvllm serve m ^\n  --a %TP%\n```\n", ["vllm", "serve", "m", "--a", "%TP%"]),
        ("```powershell\nvllm serve m `\n  --a 1\n```\n", ["vllm", "serve", "m", "--a", "1"]),
        ("```{code-block} bash\n:substitutions:\n\nvllm serve m\n```\n", ["vllm", "serve", "m"]),
        (
            '??? note "a"\n\n    ```bash\n    vllm serve m \\\n      --a 1\n    ```\n',
            ["vllm", "serve", "m", "--a", "1"],
        ),
        ('=== "a"\n\n    !!! b\n\n        ```sh\n        vllm serve m\n        ```\n', ["vllm", "serve", "m"]),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_markdown(text: str, expected: list[str], end: str) -> None:
    assert written("a.md", text.replace("\n", end)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Run::\n\n    vllm serve m --a 1\n\ntext\n", ["vllm", "serve", "m", "--a", "1"]),
        (".. code-block:: bash\n   :name: x\n\n   vllm serve m \\\n     --a 1\n", ["vllm", "serve", "m", "--a", "1"]),
        (".. note::\n\n   .. code:: console\n\n      $ vllm serve m\n", ["vllm", "serve", "m"]),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_restructuredtext(text: str, expected: list[str], end: str) -> None:
    assert written("a.rst", text.replace("\n", end)) == expected


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.md", "Run `vllm serve m`.\n\nvllm serve m\n"),
        ("a.md", "```python\nvllm serve m\n```\n"),
        ("a.md", "```diff\n- vllm serve m\n```\n"),
        ("a.rst", "Run ``vllm serve m``.\n\n.. code-block:: python\n\n   vllm serve m\n"),
        ("a.rst", "..\n   vllm serve m\n"),
    ],
)
def test_talk_is_no_command(path: str, text: str) -> None:
    assert read(path, text).commands == ()


ENTRY = '[[entry]]\nvllm = "0.20.2"\nfleet = "1xH200"\nexpect = {verdict = "refused"}\n'


@pytest.mark.parametrize(
    "value", ['"vllm serve m"', "'vllm serve m'", '"""\nvllm serve \\\n   m\n"""', "'''vllm serve m'''"]
)
def test_entries(value: str) -> None:
    command = only("matrix.toml", f"{ENTRY}command = {value}\n")
    assert [word.text for word in command.words] == ["vllm", "serve", "m"]
    assert (command.release_hint, command.fleet, command.expected) == ("0.20.2", "1xH200", "refused")


@pytest.mark.parametrize("text", ["[[entry]\n", "entry = 5\n", "[[entry]]\ncommand = 5\n", "\0", "a = " + "[" * 5000])
def test_an_entry_that_cannot_be_read_is_told_or_left_out(text: str) -> None:
    assert read("matrix.toml", text).commands == ()


KINDS = ("a.sh", "a.md", "a.rst", "Dockerfile", "a.service", "a.yaml", "matrix.toml", "notes")


@pytest.mark.parametrize("path", KINDS)
@pytest.mark.parametrize(
    "text",
    [
        "vllm serve " * 20_000,
        "vllm \\\n" * 20_000,
        "CMD vllm \\\n" * 5_000,
        "ExecStart=vllm \\\n" * 5_000,
        "(" * 3000 + "vllm serve m" + ")" * 3000,
        "$(" * 1000 + "vllm serve m",
        "```\nvllm serve m\n" * 3000,
        ">" * 3000 + " vllm serve m",
        "* " * 3000 + "vllm serve m",
        "{" * 5000 + "vllm serve m \U0001f600",
        "'vllm serve " + "\"'" * 3000,
        "vllm serve m <<EOF\n" * 500,
        ".. code:: bash\n\n vllm serve m\n" * 500,
        "vllm serve m \\\r\n\t--a \ufeff\u2028 1\r",
    ],
    ids=range(14),
)
def test_no_text_takes_long(path: str, text: str) -> None:
    before = time.process_time()
    read(path, text)
    assert time.process_time() - before < 5


@pytest.mark.parametrize("path", KINDS)
@given(text=st.text(st.sampled_from("vllm serve-m=\\\"'`$(){}[]<>|&;#:.*>~^,\t\r\n é北\U0001f600"), max_size=80))
def test_any_text_is_read(path: str, text: str) -> None:
    read(path, f"{text}vllm serve {text}")
