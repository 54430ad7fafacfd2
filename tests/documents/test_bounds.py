"""What no file may cost: more time or memory than it is long."""

from __future__ import annotations

import pytest

from qcmatrix.documents import files, markup, shell_grammar
from qcmatrix.documents.files import read_document
from qcmatrix.documents.mapped import Mapped

TANGLE = "vllm serve m " + "A=(" * 8000
DOUBLING = "A=xxxxxxxxxx\n" + 60 * "A=$A$A\n"


@pytest.mark.parametrize(
    ("path", "text", "line"),
    [
        ("x.sh", f"# a\n{TANGLE}", 1),
        ("x.md", f"a\n\n```bash\n{TANGLE}\n```\n", 4),
        ("x.md", f"a\n\n```dockerfile\nFROM x\nRUN {TANGLE}\n```\n", 5),
        ("x.yaml", f"run: |\n  {TANGLE}\n", 2),
        ("compose.yaml", f"services:\n  a:\n    image: vllm/vllm-openai\n    command: {TANGLE}\n", 4),
        ("x.service", f"[Service]\nExecStart={TANGLE}\n", 2),
        ("Dockerfile", f"FROM x\nCMD {TANGLE}\n", 2),
    ],
)
def test_what_is_too_tangled_is_told(path: str, text: str, line: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell_grammar, "_PATIENCE", 0.02)
    document = read_document(path, text)
    (note,) = document.notes
    assert "too tangled" in note.text
    assert document.place(note.start)[0] == line
    monkeypatch.undo()
    assert read_document("x.sh", "vllm serve m").commands  # the parser does not go on with the other script


def test_what_is_too_large_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell_grammar, "LARGEST_SCRIPT", 100)
    monkeypatch.setattr(markup, "_LARGEST", 200)
    for path, text in (("x.sh", "vllm serve m\n" * 10), ("x.md", "vllm serve m\n" * 20), ("x.rst", "vllm\n" * 50)):
        (note,) = read_document(path, text).notes
        assert note.text.startswith("more than ")


def test_more_commands_than_anybody_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_MOST_COMMANDS", 3)
    document = read_document("x.sh", "\ufeff" + "vllm serve m\n" * 5)
    assert len(document.commands) == 3
    (note,) = document.notes
    assert (document.place(note.start)[0], note.text) == (4, "more than 3 commands: the others are not read")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("x.sh", f'{DOUBLING}vllm serve m --seed 1 --chat-template "$A"\n'),
        ("x.sh", f"{DOUBLING}vllm serve m --seed 1 --chat-template $A\n"),
        ("x.sh", "A=(a b)\n" + 60 * 'A=("${A[@]}" "${A[@]}")\n' + 'vllm serve m --seed 1 --middleware "${A[@]}"\n'),
        ("x.sh", "A=(a b)\n" + 60 * 'A+=("${A[@]}")\n' + 'vllm serve m --seed 1 --middleware "${A[@]}"\n'),
        ("x.sh", f"{DOUBLING}bash -c 'vllm serve m --seed 1 --chat-template $A'\n"),
        (
            "Dockerfile",
            "FROM x\nENV A=xxxxxxxxxx\n" + 60 * "ENV A=$A$A\n" + "CMD vllm serve m --seed 1 --chat-template $A",
        ),
        (
            "x.yaml",
            "image: vllm/vllm-openai\nenv:\n- name: A\n  value: " + "x" * 90_000 + "\nargs: [--model, m, --seed, 1, "
            "--chat-template, " + "$(A)" * 3000 + "]\n",
        ),
    ],
)  # fmt: skip
def test_a_value_that_doubles_stays_unknown(path: str, text: str) -> None:
    (command,) = read_document(path, text).commands
    assert not all(word.resolved for word in command.words) or command.open_ended
    assert sum(len(word.text) for word in command.words) < 20 * len(text) + 2_100_000
    assert "--seed" in [word.text for word in command.words]


def test_a_value_that_is_often_used_is_filled_in() -> None:
    script = "M=some-org/some-model\n" + "vllm serve $M --served-model-name $M\n" * 50
    assert all(command.words[2].text == "some-org/some-model" for command in read_document("x.sh", script).commands)


def test_placeholders_and_templates_are_unknown_and_nothing_beside_them() -> None:
    (command,) = read_document("x.sh", "vllm serve <your-model> --port {{ port }} --a-{% x %} <b> --seed 1").commands
    unknown = [word.text for word in command.words if not word.resolved]
    assert unknown == ["<your-model>", "{{ port }}", "--a-{% x %}", "<b>"]


@pytest.mark.parametrize("foreign", ["\x85", "\u2028", "\x0b", "\x0c", "\x1c"])
def test_only_a_line_end_ends_a_line_of_markdown(foreign: str) -> None:
    text = f"# a\n\n```bash\necho a{foreign}b{foreign}\nvllm serve m\n```\n"
    (command,) = read_document("x.md", text).commands
    assert text[command.start :].startswith("vllm serve m\n")


def test_what_is_behind_the_end_of_a_text_is_its_end() -> None:
    assert Mapped.whole("abc", 10).span(3, 4) == (13, 13)
    assert Mapped.whole("abc", 10).span(2, 9) == (12, 13)
