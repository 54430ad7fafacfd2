"""Every check is shown able to fail, and every check of behaviour able to pass, before a real server."""

from __future__ import annotations

import importlib
import os
import pkgutil
from concurrent.futures import ThreadPoolExecutor

import pytest

import tests.suites.faults
from qcmatrix.results.schema import State
from qcmatrix.suites.bench import Subject
from qcmatrix.suites.declare import Check, Mode, Need, Tier
from qcmatrix.suites.registry import all_checks
from qcmatrix.suites.runner import Outcome
from tests.suites.proof import Proof, through

PROOFS: tuple[Proof, ...] = tuple(
    proof
    for info in pkgutil.iter_modules(tests.suites.faults.__path__)
    for proof in importlib.import_module(f"tests.suites.faults.{info.name}").PROOFS
)
Key = tuple[str, str, str]
"""Of a proof (faults share names), a check and a mode."""


def cells() -> list[tuple[Proof, Check, Mode]]:
    """Of each check one fault that it must see; with QCMATRIX_PROOFS=all every fault, and what helps it to pass."""
    found = [
        (proof, check, mode)
        for proof in PROOFS
        for check in all_checks()
        for mode in check.modes
        if proof.covers(check, mode)
    ]
    if os.environ.get("QCMATRIX_PROOFS") == "all":
        return found
    first: dict[str, tuple[Proof, Check, Mode]] = {}
    for proof, check, mode in found:
        if not proof.helps:
            first.setdefault(check.id, (proof, check, mode))
    return list(first.values())


@pytest.mark.parametrize("check", all_checks(), ids=lambda check: check.id)
def test_every_check_has_a_fault_that_it_must_see(check: Check) -> None:
    for mode in check.modes:
        assert any(proof.covers(check, mode) and not proof.helps for proof in PROOFS), f"none in mode {mode}"
    if check.tier is Tier.BEHAVIOUR:
        assert any(proof.covers(check, mode) and proof.helps for proof in PROOFS for mode in check.modes)


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.fault.name)
def test_every_proof_speaks_of_a_check(proof: Proof) -> None:
    for pattern in proof.checks:
        one = Proof(checks=(pattern,), fault=proof.fault, modes=proof.modes)
        assert any(one.covers(check, mode) for check in all_checks() for mode in check.modes), pattern


@pytest.fixture(scope="session")
def seen(request: pytest.FixtureRequest, tiny_subject: Subject) -> dict[Key, Outcome]:
    """All outcomes that are wanted: several at a time, then those that must be alone."""
    specs = [spec for item in request.session.items if (spec := getattr(item, "callspec", None)) is not None]
    wanted = {spec.params["cell"] for spec in specs if "cell" in spec.params}
    together = [cell for cell in cells() if _key(cell) in wanted and Need.ALONE not in cell[1].needs]
    alone = [cell for cell in cells() if _key(cell) in wanted and Need.ALONE in cell[1].needs]
    with ThreadPoolExecutor(8) as pool:
        outcomes = dict(
            zip(map(_key, together), pool.map(lambda cell: through(*cell, tiny_subject), together), strict=True)
        )
    for cell in alone:
        outcomes[_key(cell)] = through(*cell, tiny_subject)
    return outcomes


def _key(cell: tuple[Proof, Check, Mode]) -> Key:
    return f"{PROOFS.index(cell[0])} {cell[0].fault.name}", cell[1].id, cell[2].value


@pytest.mark.probe
@pytest.mark.parametrize("cell", [_key(cell) for cell in cells()], ids="-".join)
def test_proof(seen: dict[Key, Outcome], cell: Key) -> None:
    proof, _, _ = next(each for each in cells() if _key(each) == cell)
    outcome = seen[cell]
    if outcome.state in (State.UNSUPPORTED, State.SKIP):
        pytest.skip(outcome.reason)
    wanted = State.PASS if proof.helps else State.FAIL
    assert outcome.state is wanted, outcome.observed or outcome.reason
