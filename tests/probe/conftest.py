"""Real releases for the tests marked ``probe``.

``QCMATRIX_PROBE_RELEASES`` says which (``0.10.2,0.32.0``; empty: none). Their environments are made on first use in
the user's cache directory, and stay there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from qcmatrix.catalogue.releases import Release, load_release
from qcmatrix.probe.environments import EnvironmentProblem, ensure
from qcmatrix.probe.session import Session

_AN_EARLY_A_MIDDLE_THE_NEWEST = "0.10.2,0.18.1,0.32.0"
RELEASES = [
    name.strip().removeprefix("probe-")  # tox gives the name of its environment
    for name in os.environ.get("QCMATRIX_PROBE_RELEASES", _AN_EARLY_A_MIDDLE_THE_NEWEST).split(",")
    if name.strip()
]


@pytest.fixture(scope="session", params=RELEASES)
def release_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def release_session(release_name: str) -> Iterator[Session]:
    """A worker of that release; pytest orders the tests so that one is alive at a time."""
    try:
        environment = ensure(release_name, lambda _: None)
    except EnvironmentProblem as problem:
        pytest.fail("\n".join((problem.what, *problem.notes)), pytrace=False)
    with Session(environment.python) as session:
        yield session


@pytest.fixture(scope="session")
def probed_release(release_name: str) -> Release:
    return load_release(release_name)
