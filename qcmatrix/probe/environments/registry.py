"""Where packages come from: uv's own settings, and where it has none, those that pip was given."""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping
from pathlib import Path

__all__ = ["redact", "uv_settings"]

_CREDENTIALS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^/\s@]+@")
_UV_INDEX = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_NO_INDEX")
_TORCH_WHEEL = "torch-*.whl"


def redact(text: str) -> str:
    """``text`` without user names and passwords in addresses."""
    return _CREDENTIALS.sub(r"\g<scheme>***@", text)


def uv_settings(env: Mapping[str, str], prefix: Path) -> dict[str, str]:
    """Environment variables for uv that stand for pip's settings (``prefix`` is that of the running Python).

    Settings of uv win: pip's are taken only where uv has none. Torch for the CPU is asked for, unless a directory of
    wheels has one or ``UV_TORCH_BACKEND`` says otherwise.
    """
    home = Path(env.get("HOME") or Path.home())
    pip = _pip_settings(env, prefix, home)
    made: dict[str, str] = {}
    if not any(env.get(name) for name in _UV_INDEX) and not _uv_has_settings(env, home):
        if pip.get("no-index", "").lower() in ("1", "true", "yes", "on"):
            made["UV_NO_INDEX"] = "1"
        if index := pip.get("index-url"):
            made["UV_DEFAULT_INDEX"] = index.strip()
        if more := pip.get("extra-index-url"):
            made["UV_INDEX"] = " ".join(more.split())
            # What pip does with these very settings: the best version, wherever it is.
            made["UV_INDEX_STRATEGY"] = env.get("UV_INDEX_STRATEGY") or "unsafe-best-match"
    if not env.get("UV_FIND_LINKS") and (links := pip.get("find-links")):
        made["UV_FIND_LINKS"] = ",".join(links.split())
    if not env.get("SSL_CERT_FILE") and (cert := pip.get("cert")):
        made["SSL_CERT_FILE"] = cert.strip()
    if not env.get("UV_TORCH_BACKEND") and not _has_torch(made.get("UV_FIND_LINKS") or env.get("UV_FIND_LINKS", "")):
        made["UV_TORCH_BACKEND"] = "cpu"  # the index's own torch for Linux brings gigabytes of CUDA
    return made


def _pip_settings(env: Mapping[str, str], prefix: Path, home: Path) -> dict[str, str]:
    """pip's, in its order: machine, user, environment's own file, variables."""
    parser = configparser.RawConfigParser(strict=False)
    config_home = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
    files = [
        Path("/etc/xdg/pip/pip.conf"),
        Path("/etc/pip.conf"),
        home / ".pip" / "pip.conf",
        config_home / "pip" / "pip.conf",
        prefix / "pip.conf",
    ]
    given = env.get("PIP_CONFIG_FILE")
    if given == "/dev/null":
        files = []
    elif given:
        files.append(Path(given))
    for path in files:
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError):
            continue  # pip complains of it; here it means no more than no settings
    found: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            found |= {key.replace("_", "-"): value for key, value in parser.items(section) if value}
    for name, value in env.items():
        if name.startswith("PIP_") and value:
            found[name[4:].lower().replace("_", "-")] = value
    return found


def _uv_has_settings(env: Mapping[str, str], home: Path) -> bool:
    """Whether a configuration file of uv speaks of indexes: then it is left to that."""
    config_home = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
    files = [config_home / "uv" / "uv.toml", Path("/etc/uv/uv.toml")]
    if given := env.get("UV_CONFIG_FILE"):
        files = [Path(given)]
    for path in files:
        try:
            if "index" in path.read_text(encoding="utf-8"):
                return True
        except (OSError, UnicodeDecodeError):
            continue
    return False


def _has_torch(links: str) -> bool:
    """Whether a directory among the ``find-links`` has torch; of an address we cannot tell, and trust it."""
    for link in links.replace(",", " ").split():
        if link.startswith(("http://", "https://")):
            return True
        if any(Path(link.removeprefix("file://")).glob(_TORCH_WHEEL)):
            return True
    return False
