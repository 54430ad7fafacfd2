"""What is wrong with a filled gap. Each judge answers with what it saw, and with an empty text where nothing is wrong.

The bounds are the catalogue's, or those of the filters that clients have against the same faults: Continue's
``rewritesLineAbove``, ``isExtremeRepetition`` and ``removeBackticks``
(https://github.com/continuedev/continue/tree/main/core/autocomplete), Zed's list of markers
(https://github.com/zed-industries/zed/blob/main/crates/edit_prediction/src/fim.rs).
"""

from __future__ import annotations

import re
from collections import Counter

from qcmatrix.suites.fim.gap import MARKERS, Gap
from qcmatrix.suites.fim.syntax import syntax_error

__all__ = [
    "chatter",
    "echo",
    "fence",
    "leak",
    "lone_line_feed",
    "loop",
    "repeat",
    "unfilled",
    "wrong_indent",
]

_FENCE = "```"
_OPENERS = re.compile(
    r"(?:here(?:['\u2019]s| is| are| it is| you (?:go|are))|sure\b|certainly|of course|explanation\b"
    r"|the (?:missing|completed?|middle|code)\b|to (?:complete|fill)|you (?:can|should|need)\b"
    r"|i(?:['\u2019]ll| will| would|['\u2019]ve)\b|this (?:code|function|completes?|is)\b)",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[A-Z][A-Za-z'\u2019]*(?: [A-Za-z'\u2019`,-]+){3,}.*[.:!?]")
_MOST_OVERLAP = 12
"""Characters of the suffix that a middle may end with by chance."""
_MOST_REPEATS = 3
_LONG_ENOUGH = 6
"""Characters from which on a part of a line says something."""


def leak(middle: str) -> str:
    """A marker of the model in the text."""
    found = [marker for marker in MARKERS if marker in middle]
    return f"the marker {found[0]} is in the text: {_short(middle)}" if found else ""


def fence(middle: str) -> str:
    """A line that opens or closes a Markdown fence."""
    return (
        f"a Markdown fence: {_short(middle)}"
        if any(line.lstrip().startswith(_FENCE) for line in middle.splitlines())
        else ""
    )


def chatter(middle: str) -> str:
    """A sentence to a reader before the code."""
    first = next((line.strip() for line in middle.splitlines() if line.strip()), "")
    talks = _OPENERS.match(first) is not None and " " in first and not first.endswith((";", "{", ")"))
    return f"a sentence before the code: {_short(first)}" if talks or _SENTENCE.fullmatch(first) else ""


def repeat(gap: Gap, middle: str) -> str:
    """The text behind the hole, said again: of gaps with two lines behind the hole or more."""
    lines = [line.strip() for line in gap.suffix.splitlines() if line.strip()]
    if len(lines) < 2 or not middle.strip():
        return ""
    suffix = gap.suffix.lstrip()
    ending = middle.rstrip()
    longest = max((size for size in range(1, len(suffix) + 1) if ending.endswith(suffix[:size].rstrip())), default=0)
    if len(suffix[:longest].strip()) >= _MOST_OVERLAP:
        return f"it ends with what stands behind the hole: {_short(middle)}"
    last = ending.splitlines()[-1].strip()
    if _says_something(last) and last in lines[:3]:
        return f"its last line stands behind the hole: {_short(last)}"
    return ""


def echo(gap: Gap, middle: str) -> str:
    """The line before the hole, said again."""
    before = [line.strip() for line in gap.prefix.splitlines() if line.strip()]
    first = next((line.strip() for line in middle.splitlines() if line.strip()), "")
    if not before or not first:
        return ""
    last = before[-1]
    unfinished = not gap.prefix.endswith("\n") and bool(gap.prefix.rpartition("\n")[2].strip())
    same = first.startswith(last) if unfinished and len(last) >= _LONG_ENOUGH else first == last
    return f"it begins with the line before the hole: {_short(first)}" if same and _says_something(last) else ""


def loop(middle: str) -> str:
    """A line that comes more than three times."""
    lines = Counter(line.strip() for line in middle.splitlines() if _says_something(line))
    line, times = lines.most_common(1)[0] if lines else ("", 0)
    return f"a line comes {times} times: {_short(line)}" if times > _MOST_REPEATS else ""


def wrong_indent(gap: Gap, middle: str) -> str:
    """Whitespace before the code where there is some already, or spaces where the file has tabs."""
    if gap.after_indent and middle[:1].isspace():
        return f"whitespace behind the indentation that is there: {_short(middle)}"
    if gap.tabbed and any(line.startswith(" ") and line.strip() for line in middle.splitlines()[1:]):
        return f"spaces in a file that is indented with tabs: {_short(middle)}"
    return ""


def lone_line_feed(gap: Gap, middle: str) -> str:
    """A line that ends in a line feed only, in a file whose lines end as on Windows."""
    alone = gap.crlf and re.search(r"(?<!\r)\n", middle) is not None
    return f"a line feed without its carriage return: {_short(middle)}" if alone else ""


def unfilled(gap: Gap, middle: str) -> str:
    """The file does not parse with it, or what any right answer holds is not in it.

    Raises:
        NotApplicable: the grammar is not installed.
    """
    lacking = [word for word in gap.expect if word not in middle]
    if lacking:
        return f"{gap.id}: no {', '.join(lacking)} in {_short(middle)}"
    error = syntax_error(gap.language, gap.filled(middle))
    return f"{gap.id}: {error} with {_short(middle)}" if error else ""


def _says_something(line: str) -> bool:
    return sum(character.isalnum() for character in line) >= 4


def _short(text: str) -> str:
    return repr(text if len(text) <= 120 else f"{text[:117]}...")
