"""The packaged evidence, judged by today's rules."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
from click.testing import CliRunner

from qcmatrix.catalogue.releases import load_release, release_names
from qcmatrix.cli.show import rule_command
from qcmatrix.evidence.records import Record
from qcmatrix.evidence.store import latest, read
from qcmatrix.evidence.summary import RuleStatus, as_ranges, from_ranges, lines_of, spoken, status_of
from qcmatrix.probe.proof import PART
from qcmatrix.probe.status import Cell, Standing, cells
from qcmatrix.rules import all_rules
from qcmatrix.rules.cases import case_file
from qcmatrix.rules.declare import Level, Rule


@lru_cache
def records_of(release: str) -> tuple[Record, ...]:
    return latest(read(release=release, part=PART))


def releases_asked() -> list[str]:
    return [name for name in release_names() if records_of(name)]


def test_releases_were_asked() -> None:
    assert len(releases_asked()) >= 39


@lru_cache
def found_on(release: str) -> dict[str, Cell]:
    return cells(records_of(release), load_release(release))


@pytest.mark.parametrize("release", releases_asked())
def test_no_release_contradicts_a_rule(release: str) -> None:
    found = found_on(release)
    assert {rule: cell.why for rule, cell in found.items() if cell.standing is Standing.DISAGREES} == {}


@pytest.mark.parametrize("release", releases_asked())
def test_nearly_every_record_answers_todays_question(release: str) -> None:
    """A case that was changed is to be asked again: ``qcmatrix probe``."""
    kept = {record.subject for record in records_of(release)}
    current = {one.record.subject for cell in found_on(release).values() for one in cell.judged}
    assert len(kept - current) < 0.05 * len(kept), sorted(kept - current)


@pytest.mark.parametrize("rule", all_rules(), ids=lambda rule: rule.id)
def test_every_rule_is_proved_or_says_why_not(rule: Rule) -> None:
    reason = case_file(rule.id).not_askable
    assert bool(reason) is not bool(rule.probed_on)
    assert not reason or rule.level is not Level.PROBED


def test_nearly_all_rules_that_vllm_enforces_are_proved() -> None:
    enforced = [rule for rule in all_rules() if rule.enforced_by_vllm]
    assert len(enforced) > 45
    assert sum(bool(rule.probed_on) for rule in enforced) >= len(enforced) - 2


def test_a_rule_is_probed_where_its_own_cases_were() -> None:
    from qcmatrix.rules.fp8_block_cut_by_tensor_parallel import fp8_block_cut_by_tensor_parallel as rule

    assert rule.level is Level.PROBED
    assert {"0.10.0", "0.18.1", "0.28.0"} <= set(rule.probed_on)
    assert "0.29.0" in from_ranges(rule.evidence.ended)
    assert rule.level_for("0.28.0") is Level.PROBED
    assert rule.level_for("0.33.0") is Level.DERIVED
    assert rule.known.startswith("probed on 0.10.0 to 0.28.0")
    assert "is not divisible by weight quantization block_n = 128" in rule.evidence.words


def test_ranges() -> None:
    known = ("1", "2", "3", "4", "5")
    assert as_ranges({"1", "2", "3", "5"}, known) == ("1..3", "5")
    assert as_ranges({"2", "4"}, known) == ("2", "4")
    assert as_ranges((), known) == ()
    assert spoken(("1..3", "5")) == "1 to 3, 5"
    names = release_names()
    assert from_ranges(as_ranges(names)) == names
    assert from_ranges((names[3],)) == (names[3],)


def test_an_unknown_rule_has_no_status() -> None:
    assert status_of("no-such-rule").probed == ()


def told(rule_id: str) -> str:
    done = CliRunner().invoke(rule_command, [rule_id])
    assert done.exit_code == 0
    return " ".join(done.output.split())


def test_the_rule_command_tells_where_it_was_probed() -> None:
    said = told("fp8-block-cut-by-tensor-parallel")
    assert "Probed: agrees on 0.10.0 to 0.28.0 (asked 20" in said
    assert "Ended: seen not to hold on 0.29.0 to" in said
    assert "vLLM's words: ValueError: The output_size of" in said
    assert "Contradicted" not in said


def test_the_rule_command_tells_why_a_rule_was_not_asked() -> None:
    said = told("open-bind-without-key")
    assert "Not askable: it starts; who can reach the address is a matter of the network" in said
    assert "Probed" not in said


def test_a_contradiction_is_told() -> None:
    lines = dict(lines_of(RuleStatus(probed=("0.10.0..0.11.0",), contradicted=("0.12.0",), date="2026-01-02")))
    assert lines["Contradicted"] == "on 0.12.0 (asked 2026-01-02)"
    assert lines["Probed"] == "agrees on 0.10.0 to 0.11.0 (asked 2026-01-02)"


def test_the_summary_is_small_and_fresh() -> None:
    """Each answer that names a rule reads it."""
    from qcmatrix.evidence import summary as module

    path = Path(module.__file__).parent / "data" / "summary.json"
    assert path.stat().st_size < 60_000
    assert {status.probed for status in module.summary().rules.values()} != {()}
    assert module.summary().rules.keys() == {rule.id for rule in all_rules()}
