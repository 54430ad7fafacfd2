"""A real vLLM server on the CPU for the tests of the suites: started once, ended whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from qcmatrix.exchange.wire import Wire
from qcmatrix.matrix.entries import Entry, read_matrix
from qcmatrix.suites.bench import Subject
from qcmatrix.suites.subject import subject_of

MATRIX = Path(__file__).parents[2] / "matrix.toml"


@pytest.fixture(scope="session")
def tiny_entry() -> Entry:
    (entry,) = (entry for entry in read_matrix(MATRIX).entry if entry.id == "tiny-cpu")
    return entry


@pytest.fixture(scope="session")
def tiny_subject(tiny_entry: Entry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    """The server of the entry ``tiny-cpu``."""
    from qcmatrix.serving.server import Patience, start_server

    patience = Patience(boot=900.0, hung=120.0)
    server = start_server(tiny_entry, directory=tmp_path_factory.mktemp("server"), patience=patience)
    wire = Wire(server.root, api_key=server.api_key)
    try:
        yield subject_of(tiny_entry, server, wire)
    finally:
        wire.close()
        server.stop()
