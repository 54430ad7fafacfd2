"""``reports/evidence.md`` and the packed summary: what real releases did with the cases of every rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import msgspec

from qcmatrix.catalogue.releases import release_names
from qcmatrix.evidence.records import Record
from qcmatrix.evidence.store import latest, read
from qcmatrix.evidence.summary import as_ranges, spoken, summary
from qcmatrix.probe.proof import PART, Grade
from qcmatrix.probe.status import Cell, Standing, summary_of, table_of
from qcmatrix.rules import all_rules
from qcmatrix.rules.cases import case_file

__all__ = ["evidence_page", "summary_json", "write_summary"]

_LETTERS = {
    Standing.AGREES: "A",
    Standing.ENDED: "-",
    Standing.ALLOWS: "a",
    Standing.EXPLAINED: "E",
    Standing.DISAGREES: "D",
    Standing.NOT_ASKABLE: "n",
    Standing.NOT_ASKED: ".",
}
_MEANINGS = {
    Standing.AGREES: "what breaks the rule has the outcome that it foretells, and what it allows does not",
    Standing.ENDED: "the rule does not hold there, and what breaks it elsewhere is accepted or falls under another",
    Standing.ALLOWS: "what the rule allows is accepted; no breach could be shown there",
    Standing.EXPLAINED: "the release did something else, for a reason that is written down below",
    Standing.DISAGREES: "the release contradicts the rule",
    Standing.NOT_ASKABLE: "a machine without a GPU cannot tell",
    Standing.NOT_ASKED: "no case of the rule says anything there",
}

Table = Mapping[str, Mapping[str, Cell]]


@lru_cache(maxsize=1)
def _records() -> tuple[Record, ...]:
    return latest(read(part=PART))


@lru_cache(maxsize=1)
def _table() -> Table:
    return table_of(_records())


def summary_json() -> str:
    """``qcmatrix/evidence/data/summary.json``: one rule a line."""
    rules = summary_of(_table()).rules
    lines = [f'    "{rule_id}": {msgspec.json.encode(status).decode()}' for rule_id, status in rules.items()]
    return '{\n  "rules": {\n' + ",\n".join(lines) + "\n  }\n}\n"


def evidence_page() -> str:
    """Rules by releases, and the environments that were asked."""
    return "\n".join([*_head(), *_releases(), *_grid(), *_explained(), *_not_askable()]) + "\n"


def _head() -> Iterator[str]:
    table = _table()
    standings = Counter(cell.standing for row in table.values() for cell in row.values())
    askable = [rule for rule in all_rules() if not case_file(rule.id).not_askable]
    yield "# What real releases did with the rules' cases"
    yield ""
    yield (
        f"{len(_records())} answers of {len(table)} vLLM releases to the cases of {len(askable)} rules "
        f"({len(all_rules()) - len(askable)} more cannot be asked without a GPU; the reasons stand below). "
        "No GPU was used: a release's own code read the command, made its configuration and, where it matters, laid "
        "out the weights of one rank on a pretended card. A case is put to every release that it says something about, "
        "the first ones beyond its rule's bounds included. Whether an answer agrees is judged by today's rules."
    )
    yield ""
    yield "| | Rules x releases | Meaning |"
    yield "|---|---|---|"
    for standing, letter in _LETTERS.items():
        yield f"| `{letter}` {standing.value} | {standings[standing]} | {_MEANINGS[standing]} |"
    yield ""


def _releases() -> Iterator[str]:
    yield "## Releases"
    yield ""
    yield "| vLLM | asked | torch | Transformers | answers | " + " | ".join(s.value for s in _LETTERS) + " |"
    yield "|---" * (5 + len(_LETTERS)) + "|"
    by_release: dict[str, list[Record]] = {}
    for record in _records():
        by_release.setdefault(record.release, []).append(record)
    for name in release_names():
        if name not in by_release:
            yield f"| {name} | no |" + " |" * (3 + len(_LETTERS))
            continue
        found = by_release[name]
        counts = Counter(cell.standing for cell in _table()[name].values())
        environment = [", ".join(sorted({getattr(r, field) for r in found})) for field in ("torch", "transformers")]
        yield (
            f"| {name} | {max(r.date for r in found)} | {' | '.join(environment)} | {len(found)} | "
            + " | ".join(str(counts[standing]) for standing in _LETTERS)
            + " |"
        )
    yield ""


def _grid() -> Iterator[str]:
    table, names = _table(), release_names()
    askable = [rule.id for rule in all_rules() if not case_file(rule.id).not_askable]
    width = max(map(len, askable), default=0)
    yield "## Rules by releases"
    yield ""
    yield f"One letter per release, {names[0]} first, {names[-1]} last."
    yield ""
    yield "```"
    for row in _heads(names):
        yield f"{'':{width}}  {row}"
    for rule_id in askable:
        letters = (_LETTERS[table[name][rule_id].standing] if name in table else "." for name in names)
        yield f"{rule_id:{width}}  {_spaced(names, letters)}"
    yield "```"
    yield ""


def _heads(names: tuple[str, ...]) -> Iterator[str]:
    """The releases, written downwards."""
    longest = max(map(len, names))
    padded = [name.ljust(longest) for name in names]
    for place in range(longest):
        yield _spaced(names, (name[place] for name in padded)).rstrip()


def _spaced(names: tuple[str, ...], letters: Iterator[str]) -> str:
    """A gap after every fifth, for the eye."""
    return "".join(
        letter + (" " if place % 5 == 4 else "") for place, letter in enumerate(letters) if place < len(names)
    ).rstrip(" ")


def _explained() -> Iterator[str]:
    for standing, grade, title in (
        (Standing.DISAGREES, Grade.DISAGREE, "Contradictions"),
        (Standing.EXPLAINED, Grade.EXPLAINED, "Explained differences"),
    ):
        found: dict[tuple[str, str], list[str]] = {}
        for name, row in _table().items():
            for rule_id, cell in row.items():
                if cell.standing is standing:
                    for why in {one.proof.why for one in cell.judged if one.proof.grade is grade}:
                        found.setdefault((rule_id, why), []).append(name)
        yield f"## {title}"
        yield ""
        if not found:
            yield "None."
        for (rule_id, why), releases in sorted(found.items()):
            yield f"- `{rule_id}` on {spoken(as_ranges(releases))}: {why}"
        yield ""


def _not_askable() -> Iterator[str]:
    yield "## Rules that no release can be asked about without a GPU"
    yield ""
    yield "| Rule | Why |"
    yield "|---|---|"
    for rule in all_rules():
        if reason := case_file(rule.id).not_askable:
            yield f"| [{rule.id}](../docs/rules/{rule.id}.md) | {reason} |"


def write_summary(root: Path) -> None:
    """Puts the summary in place, so that pages that show it are made from it."""
    path = root / "qcmatrix" / "evidence" / "data" / "summary.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(summary_json(), encoding="utf-8", newline="\n")
    summary.cache_clear()
