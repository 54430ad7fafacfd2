"""Docker Compose files."""

from __future__ import annotations

import re

import msgspec
from yaml.nodes import MappingNode, ScalarNode

from qcmatrix.documents.containers import Container, environment, scalar_words, word_of
from qcmatrix.documents.filling import Filling
from qcmatrix.documents.found import FoundCommand, FoundWord
from qcmatrix.documents.mapped import Mapped
from qcmatrix.documents.yaml_tree import Tree

__all__ = ["read_compose"]

_VARIABLE = re.compile(r"\$\$|\$\{(\w+)(?::?-([^{}]*))?\}|\$(\w+)")


def read_compose(text: str, root: MappingNode) -> list[FoundCommand]:
    """The servers of all services.

    ``${NAME:-default}`` takes its default, ``${NAME}`` is set outside of the file and stays unknown, ``$$`` is `$`.
    """
    services = Tree(text, root).tree("services")
    found: list[FoundCommand] = []
    for name in services.keys if services is not None else ():
        service = services.tree(name) if services is not None else None
        if service is not None:
            found.extend(_service(service, text))
    return found


def _service(service: Tree, text: str) -> list[FoundCommand]:
    image = service.get("image")
    entrypoint, more = scalar_words(service, "entrypoint")
    command, more_arguments = scalar_words(service, "command")
    env = {name: _interpolated(word) for name, word in environment(service, "environment").items()}
    container = Container(
        image=_interpolated(word_of(image)) if isinstance(image, ScalarNode) else None,
        entrypoint=entrypoint if entrypoint is not None else _entrypoint_in(command),
        arguments=() if entrypoint is None and _entrypoint_in(command) is not None else command or (),
        env=env,
        gpus=_gpus(service),
        open_ended=more or more_arguments,
        fill=_filled,
    )
    return container.commands(text)


def _entrypoint_in(command: tuple[FoundWord, ...] | None) -> tuple[FoundWord, ...] | None:
    """A ``command`` that begins with a program: images without an entrypoint of their own run it as it stands."""
    if command and not command[0].text.startswith("-") and command[0].text not in ("serve",):
        return command
    return None


def _filled(text: Mapped) -> tuple[Mapped, bool]:
    filling = Filling(lambda found: "$" if found[0] == "$$" else found[2])
    return text.replaced(_VARIABLE, filling), filling.known


def _interpolated(word: FoundWord) -> FoundWord:
    if "$" not in word.text:
        return word
    text, known = _filled(Mapped.whole(word.text, word.start))
    return msgspec.structs.replace(word, text=text.text, resolved=known)


def _gpus(service: Tree) -> int | None:
    """``deploy.resources.reservations.devices`` and ``gpus``: how many cards it gets, where that is a number."""
    reservations = service.tree("deploy", "resources", "reservations")
    nodes = [*(reservations.items("devices") if reservations is not None else ()), *service.items("gpus")]
    for node in nodes:
        if not isinstance(node, MappingNode):
            continue
        device = Tree(service.text, node)
        if (ids := device.items("device_ids")) or ids:
            return len(ids)
        count = device.text_of("count")
        if count is not None and re.fullmatch(r"[1-9]\d{0,2}", count):
            return int(count)
    return None
