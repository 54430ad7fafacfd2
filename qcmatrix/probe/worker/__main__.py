"""``python <this directory>``: makes it the package ``qcmatrix_worker`` and starts the loop."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def _make_package() -> None:
    # Python put this directory first: there our `tools` or `weights` would stand before somebody else's.
    sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != HERE]
    spec = importlib.util.spec_from_file_location(
        "qcmatrix_worker", HERE / "__init__.py", submodule_search_locations=[str(HERE)]
    )
    assert spec is not None  # noqa: S101 - a path that ends in .py always has one
    assert spec.loader is not None  # noqa: S101
    package = importlib.util.module_from_spec(spec)
    sys.modules["qcmatrix_worker"] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    _make_package()
    from qcmatrix_worker.loop import main

    sys.exit(main())
