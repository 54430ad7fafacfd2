"""``python -m qcmatrix.refresh``."""

from __future__ import annotations

from qcmatrix.refresh.cli import main

if __name__ == "__main__":
    main(prog_name="python -m qcmatrix.refresh")
