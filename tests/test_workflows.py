"""The workflows are what GitHub takes, and tox knows every release."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from qcmatrix.catalogue.releases import release_names

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_workflows_follow_githubs_schema(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([*command, *map(str, WORKFLOWS)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    broken = tmp_path / "broken.yml"
    broken.write_text(WORKFLOWS[0].read_text().replace("runs-on:", "run-on:"))
    assert subprocess.run([*command, str(broken)], capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_of_others_are_pinned_and_rights_are_few(path: Path) -> None:
    text = path.read_text()
    for action, version in re.findall(r"uses: ([\w./-]+)@(\S+)", text):
        assert action.startswith("actions/") or re.fullmatch(r"[0-9a-f]{40}", version), action
    assert re.search(r"^permissions:\n  contents: read$", text, re.MULTILINE)
    # What comes from outside reaches a shell as a variable, never as its text.
    for line in re.findall(r"^\s+(?:- )?run: (.*(?:\n\s{10,}.*)*)", text, re.MULTILINE):
        assert "${{" not in line, line


def test_tox_has_an_environment_for_every_release() -> None:
    lists = re.findall(r"probe-\{([^}\n]*)\}", (ROOT / "tox.ini").read_text())
    assert len(lists) == 2
    for text in lists:
        assert tuple(text.split(",")) == release_names()
