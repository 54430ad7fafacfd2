"""Keys and tokens of a launch: kept for fidelity, never printed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from qcmatrix.launch.launch import Launch

__all__ = ["MASK", "is_secret_name", "redact", "redact_argv", "scrub", "scrub_tokens", "secret_values"]

MASK = "***"
_SECRET_OPTIONS = frozenset({"api_key", "hf_token", "ssl_keyfile_password"})
_SUSPECT = re.compile(r"^ap$|^api|apikey|passw|pass$|secret|credential|auth|header|_pat$", re.IGNORECASE)
_INNOCENT = re.compile(r"^(?:api_server|allow|disable|enable|no_)", re.IGNORECASE)
_USER_INFO = re.compile(r"(\b\w+://[^:@/\s]*:)[^@/\s]+@")
"""A password in a URL."""
_ABBREVIATED = ("api_k", "hf_t")
"""From here on an abbreviation can only mean ``--api-key`` or ``--hf-token``."""
_SECRET_NAME = re.compile(r"(?:^|_)(?:API_KEYS?|TOKEN|SECRET|PASSWORD|PASSWD|ACCESS_KEY|ACCESS_KEY_ID)$", re.IGNORECASE)
_NOT_SECRET = re.compile(r"^(?:--)?(?:max|min|num|return|enable|disable|no)[-_]", re.IGNORECASE)


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Does a variable, option or JSON key of that name hold a key (``HF_TOKEN``, ``VLLM_API_KEY``, ``--api-key``)?"""
    plain = name.lstrip("-").replace("-", "_")
    if _SUSPECT.search(plain) and not _INNOCENT.match(plain):
        return True
    if any(
        plain.startswith(start) and option.startswith(plain) for start in _ABBREVIATED for option in _SECRET_OPTIONS
    ):
        return True
    return plain in _SECRET_OPTIONS or (bool(_SECRET_NAME.search(plain)) and not _NOT_SECRET.match(plain))


def redact(launch: Launch) -> Launch:
    """``launch`` with ``***`` for every key and token: in options, JSON values, environment and unknown words."""
    return Launch(
        model=launch.model,
        options={dest: _masked(dest, value) for dest, value in launch.options.items()},
        env={name: MASK if is_secret_name(name) else _without_password(value) for name, value in launch.env.items()},
        unknown=redact_argv(launch.unknown),
    )


def redact_argv(argv: Sequence[str]) -> tuple[str, ...]:
    """``argv`` with ``***`` in place of the values of secret options and assignments."""
    shown: list[str] = []
    hiding = False
    for word in argv:
        name, equals, _ = word.partition("=")
        if equals and is_secret_name(name.rpartition(".")[2] if name.startswith("-") else name):
            shown.append(f"{name}={MASK}")
            hiding = False
        elif word.startswith("-"):
            shown.append(word)
            hiding = is_secret_name(word.rpartition(".")[2])
        else:
            shown.append(MASK if hiding else _without_password(word))
    return tuple(shown)


def secret_values(argv: Sequence[str]) -> frozenset[str]:
    """The keys and tokens that stand in ``argv``: what no text may repeat."""
    found = set()
    for word, shown in zip(argv, redact_argv(argv), strict=True):
        if word != shown:
            found.add(word if shown == MASK else word.partition("=")[2])
    return frozenset(found - {""})


def scrub(text: str, secrets: frozenset[str]) -> str:
    """``text`` with every one of ``secrets`` masked."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def _without_password(text: str) -> str:
    return _USER_INFO.sub(rf"\1{MASK}@", text)


def _masked(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _masked(key, item) for key, item in value.items()}
    if is_secret_name(name) and value is not None and not isinstance(value, bool):
        return [MASK for _ in value] if isinstance(value, (list, tuple)) else MASK
    if isinstance(value, (list, tuple)):
        return [_masked("", item) for item in value]
    return value


_TOKEN = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{8,}|sk-[A-Za-z0-9_-]{12,}|gh[pousr]_[A-Za-z0-9]{16,}|AKIA[0-9A-Z]{12,}|glpat-[\w-]{16,})"
)
_ASSIGNED = re.compile(
    r"(?P<name>--?[\w-]+|\b\w+|'\w+')(?P<sign>\s*[=:]\s*|\s+)(?P<value>'[^']*'|\"[^\"]*\"|\[[^\]]*\]|[^\s,;]+)"
)
_BEARER = re.compile(r"\b(Bearer\s+)\S+", re.IGNORECASE)


def scrub_tokens(text: str) -> str:
    """Free text with everything masked that looks like a key or token: by its own form, or by the name before it."""
    text = _BEARER.sub(rf"\1{MASK}", _without_password(_TOKEN.sub(MASK, text)))

    def masked(found: re.Match[str]) -> str:
        name = found["name"].strip("'")
        spaced = not found["sign"].strip()
        if not is_secret_name(name) or (spaced and not name.startswith("-")):
            return found[0]
        return f"{found['name']}{found['sign']}{MASK}"

    return _ASSIGNED.sub(masked, text)
