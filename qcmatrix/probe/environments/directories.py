"""Where the environments are kept: the user's cache directory."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

__all__ = ["cache_directory", "data_directory"]


def cache_directory() -> Path:
    """What can be made again: ``QCMATRIX_CACHE_DIR``, or the platform's place (``$XDG_CACHE_HOME/qcmatrix``)."""
    given = os.environ.get("QCMATRIX_CACHE_DIR")
    return Path(given).expanduser().absolute() if given else Path(platformdirs.user_cache_dir("qcmatrix", False))


def data_directory() -> Path:
    """What was found out: ``QCMATRIX_DATA_DIR``, or the platform's place (``$XDG_DATA_HOME/qcmatrix``)."""
    given = os.environ.get("QCMATRIX_DATA_DIR")
    return Path(given).expanduser().absolute() if given else Path(platformdirs.user_data_dir("qcmatrix", False))
