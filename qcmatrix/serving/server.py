"""A server for an entry: placed, started, and tried again where only its port was to blame."""

from __future__ import annotations

from pathlib import Path

import msgspec

from qcmatrix.matrix.entries import CPU, Entry
from qcmatrix.serving.cards import claim
from qcmatrix.serving.command import new_key, words_of
from qcmatrix.serving.hardware import Hardware, can_place, this_machine
from qcmatrix.serving.installation import command_for, installation_for
from qcmatrix.serving.ports import HeldPort
from qcmatrix.serving.problems import BootFailed, CannotPlace
from qcmatrix.serving.running import Booted, Progress, Server, quiet
from qcmatrix.serving.watch import Patience
from qcmatrix.serving.why import explained

__all__ = ["BootFailed", "Booted", "CannotPlace", "Patience", "Server", "explained", "start_server"]

_TRIES = 3
_PORT_TAKEN = "port-in-use"
"""The fingerprint of it."""


def start_server(
    entry: Entry,
    *,
    hardware: Hardware | None = None,
    vllm_python: Path | None = None,
    any_release: bool = False,
    directory: Path,
    progress: Progress = quiet,
    patience: Patience | None = None,
    wait_for_cards: float = 3600.0,
) -> Server:
    """A server for ``entry`` that is ready; whoever asked for it stops it.

    Args:
        hardware: what is known of this machine; ``None``: it is looked at.
        vllm_python: an interpreter (or virtual environment) that has vLLM; ``None``: the one that we run in.
        any_release: take that vLLM even if it is another release than the entry's.
        directory: for the log.
        progress: told what is being done.
        wait_for_cards: seconds that cards of other servers are waited for.

    Raises:
        CannotPlace: this machine cannot serve it, or its log not be written; nothing was started.
        BootFailed: it did not get ready; nothing of it is left.
        UserError: the entry cannot be read, or what serves it not be made.
    """
    seen = hardware or (Hardware() if entry.fleet == CPU else this_machine())
    if why := can_place(entry, seen):
        raise CannotPlace(f"{entry.id} {why}")
    installation = installation_for(entry, vllm_python=vllm_python, any_release=any_release, progress=progress)
    limits = patience or Patience(boot=3600.0 if entry.boot_seconds is None else entry.boot_seconds)
    if installation.kind == "image":
        # Its processes are not seen from here: only the log tells that it works.
        limits = msgspec.structs.replace(limits, silence=max(limits.silence, 900.0))
    for attempt in range(1, _TRIES + 1):
        cards = claim(entry, seen, limit=wait_for_cards, progress=progress)
        port = HeldPort()
        server: Server | None = None
        try:
            command = command_for(
                entry,
                installation,
                port=port.number,
                key=new_key(),
                cards=[(card.index, card.uuid) for card in cards.cards],
                progress=progress,
            )
            progress(f"starting {installation.what}")
            server = Server(
                command,
                directory,
                name=entry.id,
                patience=limits,
                port=port,
                cards=cards,
                words_env=words_of(entry).env,
            )
            server.wait_ready(progress)
        except BaseException as error:
            if server is not None:
                server.stop()
            else:
                port.release()
                cards.release()
            if isinstance(error, OSError):
                raise CannotPlace(
                    f"{entry.id}: the server cannot be started with its log in {directory}: {error.strerror or error}"
                ) from None
            again = isinstance(error, BootFailed) and (error.ending == "stranger" or error.fingerprint == _PORT_TAKEN)
            if not again or attempt == _TRIES:
                raise
            progress(f"port {port.number} was taken meanwhile: another one")
        else:
            return server
    raise AssertionError("the last try returns or raises")
