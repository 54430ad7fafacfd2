"""The words of one option <-> its typed value, as vLLM's argparse types read them.

Mirrors ``human_readable_int``, ``optional_type`` and ``union_dict_and_str`` in ``vllm/engine/arg_utils.py`` of each
release (the first one later in ``vllm/utils/argparse_utils.py``). Read in the sources of 0.10.0 to 0.33.0, 2026-11-22.
"""

from __future__ import annotations

import json
import re
from typing import Any

from qcmatrix.catalogue.releases import Flag
from qcmatrix.versions import Range, Version

__all__ = ["CONFIGURATION_CLASSES", "ValueRefusedError", "human_int", "read_value", "takes_no_value", "write_values"]

_HUMAN = re.compile(r"(\d+(?:\.\d+)?)([kKmMgGtT])")
_DECIMAL = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_TERA = Range("0.13.0", None)
"""The suffixes t and T are matched by every release but multiplied only from here on."""

_JSON_NUMBERS = Range("0.20.0", None)
"""Releases that expand ``80m`` outside of strings in the JSON of a configuration class."""
_JSON_OUTSIDE_STRINGS = re.compile(r'("(?:[^"\\]|\\.)*")')
_JSON_HUMAN = re.compile(r"\b\d+(?:\.\d+)?[kKmMgGtT]\b")
CONFIGURATION_CLASSES = {
    "attention_config": "AttentionConfig",
    "compilation_config": "CompilationConfig",
    "eplb_config": "EPLBConfig",
    "kv_transfer_config": "KVTransferConfig",
    "structured_outputs_config": "StructuredOutputsConfig",
}
"""JSON options that become a configuration class while the words are read: only an object will do."""
_JSON_OBJECT = re.compile(r"(?s)^\s*{.*}\s*$")


class ValueRefusedError(ValueError):
    """A text that the option does not take. The message is worded as argparse or vLLM words it."""

    def __init__(self, message: str, choices: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.choices = choices


def takes_no_value(flag: Flag) -> bool:
    """Is it a switch (``store_true`` or ``--x`` / ``--no-x``)?"""
    return flag.type in ("bool", "optional_bool")


def human_int(text: str, version: Version) -> int:
    """Tokens or bytes from ``200k`` (x 1000), ``256K`` (x 1024), ``25.6k``, ``4096``.

    Decimals go with lower-case (decimal) suffixes only.

    Raises:
        ValueRefusedError: a decimal with a binary suffix.
        ValueError: not such a number.
    """
    text = text.strip()
    found = _HUMAN.fullmatch(text)
    if found is not None and (found[2] not in "tT" or version in _TERA):
        number, suffix = found.groups()
        if suffix in _DECIMAL:
            return int(float(number) * _DECIMAL[suffix])
        if "." in number:
            raise ValueRefusedError(
                f"Decimals are not allowed with binary suffixes like {suffix}. "
                f"Did you mean to use {number}{suffix.lower()} instead?"
            )
        return int(number) * _BINARY[suffix]
    return int(text)


def read_value(flag: Flag, text: str, version: Version) -> Any:
    """The typed value of one word.

    Raises:
        ValueRefusedError: the option does not take it; the message is what vLLM would print after ``argument --x:``.
    """
    if flag.none_allowed and text in ("", "None"):
        return None
    value = _convert(flag, text, version)
    if flag.choices and str(value) not in flag.choices:
        offered = ", ".join(repr(choice) for choice in flag.choices)
        raise ValueRefusedError(f"invalid choice: {value!r} (choose from {offered})", flag.choices)
    return value


def _convert(flag: Flag, text: str, version: Version) -> Any:
    try:
        match flag.type:
            case "int":
                return int(text)
            case "human_int":
                if flag.accepts_auto and text.strip().lower() in ("-1", "auto"):
                    return -1
                return human_int(text, version)
            case "float":
                return float(text)
            case "json":
                return _of_class(flag, _json(flag, text, version))
            case _:
                return text.lower().replace("-", "_") if flag.folded else text
    except ValueRefusedError:
        raise
    except ValueError:
        raise ValueRefusedError(_complaint(flag, text)) from None


def _json(flag: Flag, text: str, version: Version) -> Any:
    if flag.text_allowed and not _JSON_OBJECT.match(text):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        # Only what vLLM validates against a class is expanded first; plain dictionaries are not.
        if version not in _JSON_NUMBERS or not flag.dest.endswith("_config"):
            raise
    parts = _JSON_OUTSIDE_STRINGS.split(text)
    parts[::2] = [_JSON_HUMAN.sub(lambda found: str(human_int(found[0], version)), part) for part in parts[::2]]
    return json.loads("".join(parts))


def _of_class(flag: Flag, value: Any) -> Any:
    if flag.dest in CONFIGURATION_CLASSES and not isinstance(value, dict):
        raise ValueRefusedError(f"1 validation error for {CONFIGURATION_CLASSES[flag.dest]} Input should be an object")
    return value


def _complaint(flag: Flag, text: str) -> str:
    kind = {
        "int": "int",
        "float": "float",
        "human_int": "human_readable_int_or_auto" if flag.accepts_auto else "human_readable_int",
        "json": "loads",
    }.get(flag.type, flag.type)
    if flag.none_allowed or flag.type == "json":
        # optional_type and parse_type word it themselves; the address that Python prints is left out.
        shown = f"<class {kind!r}>" if flag.type in ("int", "float") else f"<function {kind}>"
        return f"Value {text} cannot be converted to {shown}."
    return f"invalid {kind} value: {text!r}"


def write_values(flag: Flag, value: Any) -> tuple[str, ...]:
    """The words that :func:`read_value` reads back as ``value``; for an option of several values, of each."""
    if flag.nargs in ("+", "*") or isinstance(flag.nargs, int):
        items = value if isinstance(value, (list, tuple)) else [value]
        return tuple(_write(flag, item) for item in items)
    return (_write(flag, value),)


def _write(flag: Flag, value: Any) -> str:
    if value is None and flag.none_allowed:
        return "None"
    if flag.type == "json" and not (flag.text_allowed and isinstance(value, str)):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if isinstance(value, (dict, list)):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))  # read back as the same number
    return str(value)
