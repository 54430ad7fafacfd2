"""What a case tells a CI that reads JUnit XML."""

from __future__ import annotations

from qcmatrix.results.schema import CaseResult

__all__ = ["junit_properties"]


def junit_properties(case: CaseResult) -> tuple[tuple[str, str], ...]:
    """Names and values for ``record_property``, in order; one ``qc_profile`` or ``qc_exchange`` each."""
    found = [
        ("qc_case", case.id),
        ("qc_mode", case.mode),
        ("qc_state", case.state.value),
        ("qc_tier", case.tier),
        ("qc_core", "true" if case.core else "false"),
        *(("qc_profile", profile) for profile in case.profiles),
    ]
    if case.passes is not None and case.trials is not None:
        found.append(("qc_rate", f"{case.passes}/{case.trials}"))
    if case.issue:
        found.append(("qc_issue", case.issue))
    found += (("qc_exchange", digest) for digest in case.exchanges)
    return tuple(found)
