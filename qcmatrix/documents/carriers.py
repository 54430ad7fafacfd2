"""Programs that run a command which is given to them, and those that only speak of one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from qcmatrix.launch.command import CONTAINER_TOOLS

__all__ = ["CARRIERS", "TALK", "UV_RUNS", "runs_text"]

TALK = frozenset({"echo", "printf", "pip", "pip3", "uv", "apt", "apt-get", "grep", "pkill", "pgrep", "kill", "which",
                   "man", "git", "cd", "ls", "rm", "mkdir", "conda", "helm", "kubectl"})  # fmt: skip
UV_RUNS = frozenset({"run", "tool"})
CARRIERS: dict[str, frozenset[str]] = {
    "ssh": frozenset(),
    "screen": frozenset(),
    "tmux": frozenset({"new", "new-session", "neww", "new-window", "splitw", "split-window", "send", "send-keys",
                       "respawn-pane"}),
    "docker": frozenset({"exec", "compose"}),
    "podman": frozenset({"exec"}),
    "nerdctl": frozenset({"exec"}),
    "kubectl": frozenset({"exec", "run"}),
    "oc": frozenset({"exec"}),
    "apptainer": frozenset({"exec", "run", "instance"}),
    "singularity": frozenset({"exec", "run", "instance"}),
    "conda": frozenset({"run"}),
    "mamba": frozenset({"run"}),
    "micromamba": frozenset({"run"}),
    **dict.fromkeys(
        ("mpirun", "nsys", "ncu", "strace", "perf", "xargs", "runuser", "flock", "unbuffer", "proxychains",
         "proxychains4", "py-spy", "enroot", "watch", "su", "eval", "sbatch", "parallel"),
        frozenset[str](),
    ),
    "accelerate": frozenset({"launch"}),
}  # fmt: skip
"""Programs that run the command behind their own options, by which of their commands do (none: all)."""
_SHELLS = frozenset({"bash", "sh", "zsh", "dash", "ksh", "eval", "wsl", "xterm", "systemd-run", "pm2"})
_STARTS = re.compile(r"run|start|launch|exec|spawn|submit|serve")
"""In the name of a function of the script's own: it runs the text that it is given."""


def runs_text(texts: Sequence[str]) -> bool:
    """Does this command run the text that it is given in quotes? Most only print it, or look for it."""
    first = texts[0].rpartition("/")[2]
    commands = CARRIERS.get(first)
    if commands:
        return bool(commands & set(texts[1:4])) or (first in CONTAINER_TOOLS and "run" in texts[1:4])
    if first in ("sudo", "env", "nohup", "exec", "srun", "time", "timeout", "nice", "setsid", "numactl", "command"):
        return not any(text.rpartition("/")[2] in TALK or text.startswith("python") for text in texts[1:4])
    return commands is not None or first in _SHELLS or (first not in TALK and _STARTS.search(first) is not None)
