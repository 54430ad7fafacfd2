"""A container as a file describes it, and the server that it starts: compose, Kubernetes, Helm values, Dockerfiles."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from qcmatrix.documents.found import FoundCommand, FoundWord, Quoting
from qcmatrix.documents.mapped import Mapped
from qcmatrix.documents.shell import read_shell
from qcmatrix.documents.shell_expansion import shell_words
from qcmatrix.documents.yaml_tree import Tree, mapped_scalar
from qcmatrix.errors import RequestError
from qcmatrix.launch.command import Form, locate
from qcmatrix.launch.image import release_of_image, serves_by_itself

__all__ = ["Container", "environment", "scalar_words", "word_of"]

_SHELLS = frozenset({"bash", "sh", "zsh", "dash", "ash"})
_TEMPLATE = re.compile(r"\{\{|\$\{?[A-Za-z_]")


class Container(msgspec.Struct, frozen=True):
    """What a container runs. ``entrypoint`` replaces the image's own, ``arguments`` follow it; ``None``: not given."""

    image: FoundWord | None
    entrypoint: tuple[FoundWord, ...] | None
    arguments: tuple[FoundWord, ...]
    env: dict[str, FoundWord]
    gpus: int | None = None
    open_ended: bool = False
    fill: Callable[[Mapped], tuple[Mapped, bool]] | None = None
    """What fills in variables before the words reach the program: the text, and whether all of it is known."""

    def commands(self, text: str) -> list[FoundCommand]:
        """The servers that it starts: one, none, or those of the script that it runs."""
        given = (*(self.entrypoint or ()), *self.arguments)
        script = _script_of(given)
        if script is not None:
            mapped = mapped_scalar(text, script.text, script.start, script.stop)
            filled = mapped if self.fill is None else self.fill(mapped)[0]
            # in a block scalar a script is written as in a file; in quotes it would have to be quoted once more
            block = text[script.start : script.start + 1] in ("|", ">")
            return [self._in(command if block else _in_quotes(command)) for command in read_shell(filled)]
        given = tuple(map(self._filled, given))
        image = self.image.text if self.image is not None else None
        if self.entrypoint is None or (self.entrypoint and self.entrypoint[0].text.startswith("-")):
            # nothing but options: for the image's own entrypoint, which is the server only in vLLM's images
            if not given or not serves_by_itself(image, (word.text for word in given)):
                return []
            command = FoundCommand(tuple(self._behind_image(given)))
        else:
            command = FoundCommand(given)
        if not self._starts_a_server(command):
            return []
        return [self._in(command)]

    def _filled(self, word: FoundWord) -> FoundWord:
        if self.fill is None or "$" not in word.text:
            return word
        text, known = self.fill(Mapped.whole(word.text, word.start))
        return msgspec.structs.replace(word, text=text.text, resolved=known and "{{" not in text.text)

    def _behind_image(self, given: Sequence[FoundWord]) -> list[FoundWord]:
        """``docker run IMAGE ...``: how a command says that options are for an image's entrypoint."""
        place = self.image or given[0]
        made = [FoundWord(word, place.start, place.stop, Quoting.NONE, own=False) for word in ("docker", "run")]
        name = FoundWord(place.text if self.image else "vllm/vllm-openai", place.start, place.stop, Quoting.NONE)
        return [*made, msgspec.structs.replace(name, own=False), *given]

    def _starts_a_server(self, command: FoundCommand) -> bool:
        try:
            return locate([word.text for word in command.words]).form is not Form.OPTIONS
        except RequestError:
            return False

    def _in(self, command: FoundCommand) -> FoundCommand:
        """``command`` as it runs in this container."""
        release = release_of_image(self.image.text) if self.image is not None else None
        return msgspec.structs.replace(
            command,
            env={**self.env, **command.env},
            release_hint=command.release_hint or release,
            gpus=self.gpus,
            contained=True,
            open_ended=command.open_ended or self.open_ended,
        )


def _in_quotes(command: FoundCommand) -> FoundCommand:
    words = tuple(msgspec.structs.replace(word, quoting=Quoting.SHELL_IN_QUOTES) for word in command.words)
    return msgspec.structs.replace(command, words=words)


def _script_of(given: Sequence[FoundWord]) -> FoundWord | None:
    """The script of ``bash -c SCRIPT``, wherever the entrypoint ends and the arguments begin."""
    if not given or given[0].text.rpartition("/")[2] not in _SHELLS:
        return None
    for index, word in enumerate(given[1:], start=1):
        if re.fullmatch(r"-[a-z]*c", word.text) and index + 1 < len(given):
            return given[index + 1]
    return None


def word_of(node: ScalarNode, *, flow: bool = False) -> FoundWord:
    """A scalar as one word."""
    value = node.value
    return FoundWord(
        value,
        node.start_mark.index,
        node.end_mark.index,
        Quoting.FLOW_ITEM if flow else Quoting.YAML_ITEM,
        resolved=_TEMPLATE.search(value) is None,
    )


def scalar_words(tree: Tree, key: str) -> tuple[tuple[FoundWord, ...] | None, bool]:
    """The words of ``key``, a list or one string that is split as a shell would; ``None``: it is not there.

    The second value: may there be more words?
    """
    node = tree.get(key)
    if node is None:
        return None, False
    if isinstance(node, SequenceNode):
        words = [word_of(item, flow=bool(node.flow_style)) for item in node.value if isinstance(item, ScalarNode)]
        return tuple(words), len(words) != len(node.value)
    if isinstance(node, ScalarNode) and node.value:
        found, open_ended = shell_words(tree.mapped(node))
        if node.style == '"':
            found = [msgspec.structs.replace(word, quoting=Quoting.SHELL_IN_QUOTES) for word in found]
        return tuple(found), open_ended
    return None, False


def environment(tree: Tree, key: str) -> dict[str, FoundWord]:
    """``env:`` in any of its forms: a mapping, ``NAME=value`` items, or items of ``name`` and ``value``."""
    node = tree.get(key)
    found: dict[str, FoundWord] = {}
    if isinstance(node, MappingNode):
        pairs = Tree(tree.text, node)
        for name in pairs.keys:
            value = pairs.get(name)
            if isinstance(value, ScalarNode):
                found[name] = _value_of(value, value.value)
    for item in node.value if isinstance(node, SequenceNode) else ():
        if isinstance(item, ScalarNode):
            name, equals, text = item.value.partition("=")
            if equals:
                found[name] = _value_of(item, text)
        elif isinstance(item, MappingNode):
            pair = Tree(tree.text, item)
            name_text, value_node = pair.text_of("name"), pair.get("value")
            if name_text and isinstance(value_node, ScalarNode):
                found[name_text] = _value_of(value_node, value_node.value)
            elif name_text and pair.get("valueFrom") is not None:
                place = pair.node
                found[name_text] = FoundWord(
                    "", place.start_mark.index, place.end_mark.index, Quoting.NONE, resolved=False
                )
    return found


def _value_of(node: Node, text: str) -> FoundWord:
    return FoundWord(
        text, node.start_mark.index, node.end_mark.index, Quoting.NONE, resolved=_TEMPLATE.search(text) is None
    )
