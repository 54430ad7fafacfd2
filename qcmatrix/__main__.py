"""``python -m qcmatrix``."""

from qcmatrix.cli import main

if __name__ == "__main__":
    main()
