"""Every check of every entry, as pytest items: the plugin says which there are (:mod:`qcmatrix.suites.plugin`)."""

from __future__ import annotations

from typing import Any


def test_check(suite_case: Any, qcmatrix_run: Any, record_property: Any) -> None:
    """One check in one mode, asked of one entry's server."""
    qcmatrix_run.ask(suite_case, record_property)
