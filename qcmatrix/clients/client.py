"""What a client's configuration says about one model."""

from __future__ import annotations

from enum import StrEnum

import msgspec

__all__ = ["Client", "ClientKind", "Said"]


class ClientKind(StrEnum):
    """Whose configuration it is."""

    CONTINUE = "Continue"
    LLAMA_VSCODE = "llama.vscode"
    ZED = "Zed"
    OPENAI = "OpenAI base URL"


class Said(msgspec.Struct, frozen=True):
    """A value and where it stands: the characters [start, stop) of the document."""

    text: str
    start: int
    stop: int

    @property
    def number(self) -> int | None:
        """As a whole number; ``None``: it is none."""
        digits = self.text.replace("_", "")
        return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 12 else None


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """One model as a client is told of it. ``None``: the configuration does not say."""

    kind: ClientKind
    place: Said
    """Where the model's entry begins; its text is the entry's name."""
    provider: str = ""
    model: Said | None = None
    base_url: Said | None = None
    api_key: Said | None = None
    context_length: Said | None = None
    max_tokens: Said | None = None
    completes: bool = False
    """Is it used for autocompletion?"""
    calls_tools: Said | None = None
    """Where it is said that the model calls tools."""
    template: Said | None = None
    """The text that is sent for an autocompletion."""
    prompt_format: Said | None = None
    """The name of a built-in one (Zed)."""
    max_stop_words: Said | None = None
    stop_words: int | None = None
    """How many stop strings an autocompletion carries; ``None``: what the client does by itself."""
    chat_endpoint: bool = False
    """Are autocompletions sent as chat messages?"""
