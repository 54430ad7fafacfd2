"""What an entry asks of its server, read with the surface of its release."""

from __future__ import annotations

import msgspec

from qcmatrix.catalogue.releases import Release, load_release
from qcmatrix.errors import UserError
from qcmatrix.launch.parse import parse
from qcmatrix.launch.parsed import Parsed
from qcmatrix.launch.rope import RopeRequest, rope_request
from qcmatrix.launch.shell import split_shell
from qcmatrix.matrix.entries import Entry
from qcmatrix.suites.bench import Bench
from qcmatrix.suites.declare import Need, NotApplicable, Wrong

__all__ = ["Asked", "asked_by", "entry_of"]


class Asked(msgspec.Struct, frozen=True):
    """An entry's command, taken apart."""

    release: Release
    parsed: Parsed

    @property
    def names(self) -> tuple[str, ...]:
        """What clients may call the model: ``--served-model-name``, else the model as the command has it."""
        given = self.parsed.launch.options.get("served_model_name") or ()
        names = (given,) if isinstance(given, str) else tuple(str(each) for each in given)
        return names or (self.parsed.launch.model,)

    @property
    def max_model_len(self) -> int | None:
        """Tokens, as asked; ``None``: left to vLLM (not given, or ``auto``)."""
        asked = self.parsed.launch.options.get("max_model_len")
        return asked if isinstance(asked, int) and asked > 0 else None

    @property
    def rope(self) -> RopeRequest | None:
        """How position scaling was asked for; ``None``: it was not."""
        return rope_request(self.parsed.launch.options, self.release.version)

    def given(self, dest: str) -> object:
        """The value that the command gives the option; ``None``: it gives none."""
        return self.parsed.launch.options.get(dest)


def asked_by(entry: Entry) -> Asked:
    """What ``entry`` asks.

    Raises:
        Wrong: its command or its release cannot be read.
    """
    try:
        release = load_release(entry.vllm)
        shell = split_shell(entry.command)
        return Asked(release, parse(shell.argv, release, env=shell.env))
    except UserError as error:
        raise Wrong("an entry that can be read", error.what) from error


def entry_of(bench: Bench) -> Asked:
    """What the entry of the server asks.

    Raises:
        NotApplicable: the server was only named.
        Wrong: its entry cannot be read.
    """
    if bench.subject.entry is None:
        raise NotApplicable(f"needs {Need.OWN_SERVER}: nobody knows what this one was asked for")
    return asked_by(bench.subject.entry)
