"""What the judges call wrong, and what they must leave alone."""

from __future__ import annotations

import pytest

from qcmatrix.suites.fim.gap import MARKERS, Gap
from qcmatrix.suites.fim.judges import chatter, echo, fence, leak, lone_line_feed, loop, repeat, unfilled, wrong_indent
from qcmatrix.suites.fim.syntax import LANGUAGES, syntax_error


def gap(prefix: str, suffix: str, *, language: str = "python", expect: tuple[str, ...] = ()) -> Gap:
    return Gap(id="own/gap", language=language, path="a.py", prefix=prefix, suffix=suffix, middle="x", expect=expect)


SUM = gap(
    "def sum(values):\n    total = 0\n    ", "\n    for value in values:\n        total += value\n    return total\n"
)


@pytest.mark.parametrize("marker", MARKERS)
def test_leak(marker: str) -> None:
    assert marker in leak(f"x{marker}y")
    assert leak("a <| b |> c") == ""


@pytest.mark.parametrize("text", ["```python\nx\n```", "x\n```", "  ```\nx"])
def test_a_fence(text: str) -> None:
    assert fence(text)


def test_back_ticks_inside_a_line_are_no_fence() -> None:
    assert fence("const a = `b`; // ```") == ""


@pytest.mark.parametrize(
    "text",
    [
        "Here is the missing code:",
        "Here's the code\nx = 1",
        "Here\u2019s what you need:",
        "\n\nSure, this does it.\nx = 1",
        "Certainly! The code follows",
        "The missing code is:",
        "To complete the function, add this:",
        "I'll add the loop.",
        "This code sums the values.",
        "A loop over all values does it.",
    ],
)
def test_a_sentence_before_the_code(text: str) -> None:
    assert chatter(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x = 1",
        "for item in items:",
        "if not seen and not done:",
        "# Here is the loop over all the values.",
        "// This code runs first.",
        "surely = 1",
        "here = there",
        "theMissing();",
        "SELECT name FROM people",
        "None => 0,",
        "this.name = name;",
        "You.are(here);",
        "public static void main(String[] words) {",
    ],
)
def test_code_is_no_sentence(text: str) -> None:
    assert chatter(text) == ""


@pytest.mark.parametrize(
    ("middle", "says"),
    [
        ("for value in values:\n        total += value\n    return total\n", "ends with what stands behind"),
        ("x = 1\n    for value in values:", "ends with what stands behind"),
        ("x = 1\n    total += value", "its last line stands behind"),
    ],
)
def test_a_repeated_suffix(middle: str, says: str) -> None:
    assert says in repeat(SUM, middle)


@pytest.mark.parametrize("middle", ["", "count = 0", "count = 0\n    ", "print(total)  # for"])
def test_no_repeated_suffix(middle: str) -> None:
    assert repeat(SUM, middle) == ""


def test_of_one_line_behind_nothing_is_said() -> None:
    assert repeat(gap("x = ", "\nprint(something)\n"), "1\nprint(something)") == ""


def test_an_echo() -> None:
    assert echo(SUM, "total = 0\n    x = 1")
    assert echo(gap("total = compu", "\n"), "total = compute()")
    assert echo(SUM, "totals = 0") == ""
    assert echo(gap("total = compu", "\n"), "te()\n") == ""
    assert echo(gap("", "\n"), "x") == ""
    assert echo(gap("{\n", "\n}"), "{\n}") == "", "a bracket says nothing"


def test_a_loop() -> None:
    assert "4 times" in loop("again()\n" * 4)
    assert loop("again()\n" * 3) == ""
    assert loop("}\n" * 9) == "", "brackets close as often as they must"


def test_indentation() -> None:
    assert wrong_indent(SUM, "    x = 1")
    assert wrong_indent(SUM, "\n    x = 1")
    assert wrong_indent(SUM, "x = 1\n    y = 2") == ""
    tabs = gap("func a() {\n\t", "\n}\n", language="go")
    assert wrong_indent(tabs, "b()\n    c()")
    assert wrong_indent(tabs, "b()\n\tc()") == ""


def test_line_ends() -> None:
    windows = gap("a = 1\r\n", "\r\n")
    assert lone_line_feed(windows, "b = 2\nc = 3")
    assert lone_line_feed(windows, "b = 2\r\nc = 3") == ""
    assert lone_line_feed(SUM, "b = 2\nc = 3") == ""


def test_unfilled() -> None:
    asked = gap("def f(a):\n    return ", "\n", expect=("a",))
    assert unfilled(asked, "a + 1") == ""
    assert "no a" in unfilled(asked, "1")
    assert "line 2" in unfilled(asked, "a +")


@pytest.mark.parametrize(
    ("language", "good", "bad"),
    [
        ("python", "def f():\n    return 1\n", "def f(:\n"),
        ("javascript", "const a = () => 1;\n", "const a = () => ;\n"),
        ("typescript", "let a: number = 1;\n", "let a: = 1;\n"),
        ("go", "package a\n\nfunc f() {}\n", "package a\n\nfunc f( {}\n"),
        ("rust", "fn f() -> i32 { 1 }\n", "fn f() -> { 1\n"),
        ("java", "class A { int a; }\n", "class A { int ; }\n"),
        ("cpp", "int f() { return 1; }\n", "int f( { return 1; }\n"),
        ("bash", "if true; then\n  echo a\nfi\n", "if true; then\n  echo a\n"),
    ],
)
def test_each_language_has_its_parser(language: str, good: str, bad: str) -> None:
    assert language in LANGUAGES
    assert syntax_error(language, good) == ""
    assert syntax_error(language, bad) != ""
