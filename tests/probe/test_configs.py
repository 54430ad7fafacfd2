"""The files that releases are given say what the catalogue says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qcmatrix.catalogue.models import ResolvedCheckpoint, all_checkpoints, resolve_model
from qcmatrix.probe.configs import config_json


@pytest.mark.parametrize("checkpoint", all_checkpoints(), ids=lambda found: found.checkpoint.short)
def test_a_config_reads_back_as_the_checkpoint(checkpoint: ResolvedCheckpoint, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config_json(checkpoint)), encoding="utf-8")
    read = resolve_model(str(tmp_path))
    assert read.architecture == checkpoint.architecture
    assert set(read.quantization.unquantized) == set(checkpoint.quantization.unquantized)
    for field in ("method", "weight_bits", "group_size", "block", "scale_bits", "activation_bits", "symmetric"):
        assert getattr(read.quantization, field) == getattr(checkpoint.quantization, field), field
