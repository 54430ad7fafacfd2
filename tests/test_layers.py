"""Imports go one way, and the light half stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import qcmatrix

PACKAGE = Path(qcmatrix.__file__).parent

# Each may import only what stands above it.
ROWS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("versions",),
    ("boundary",),
    ("catalogue",),
    ("evidence",),
    ("refresh",),
    ("launch",),
    ("documents",),
    ("deployment",),
    ("resolve",),
    ("memory", "latency"),
    ("startup_log",),
    ("rules",),
    ("assess",),
    ("fixes",),
    ("lint",),
    ("upgrade",),
    ("clients",),
    ("planner",),
    ("answers",),
    ("matrix",),
    ("probe",),
    ("exchange",),
    ("results",),
    ("serving",),
    ("suites",),
    ("report",),
    ("cli",),
    ("__main__",),
)
LEVEL = {name: level for level, row in enumerate(ROWS) for name in row}
HEAVY = (
    "torch",
    "vllm",
    "transformers",
    "numpy",
    "rich",
    "jsonschema",
    "urllib.request",
    "http.client",
    "ssl",
    "socket",
)


def part_of(module: str) -> str | None:
    words = module.split(".")
    return words[1] if len(words) > 1 and words[0] == "qcmatrix" else None


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names if node.module == "qcmatrix"}
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":
        own = "errors"
    for module in imports_of(path):
        other = part_of(module)
        if other is not None and other != own and other not in ("__version__",):
            assert LEVEL[other] < LEVEL[own], f"{own} imports {module}"


def test_every_part_has_its_row() -> None:
    parts = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert parts - {"__init__"} == set(LEVEL)


def test_answers_import_nothing_heavy() -> None:
    code = (
        "import sys, qcmatrix.answers.suggest, qcmatrix.answers.check, qcmatrix.cli.suggest, qcmatrix.cli.check\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
