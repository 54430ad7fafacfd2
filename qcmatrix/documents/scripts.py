"""Scripts within YAML that is no manifest: the steps of GitHub workflows, GitLab jobs, Ansible tasks, SkyPilot tasks.

All of them write shell under a key of a few names, wherever that key may stand.
"""

from __future__ import annotations

import re

import msgspec
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from qcmatrix.documents.containers import environment
from qcmatrix.documents.found import FoundCommand, FoundWord, Quoting
from qcmatrix.documents.shell import mentions_vllm, read_shell
from qcmatrix.documents.yaml_tree import Tree

__all__ = ["SCRIPT_KEYS", "read_scripts"]

SCRIPT_KEYS = frozenset({
    "run", "script", "before_script", "after_script", "setup", "cmd", "cmds", "commands", "shell",
    "ansible.builtin.shell", "ansible.builtin.command", "ansible.legacy.shell", "ansible.legacy.command",
})  # fmt: skip
_ENVIRONMENT_KEYS = ("env", "envs", "environment", "variables")
_TAG = re.compile(r":v?(\d+\.\d+(?:\.\d+)*(?:\.?(?:rc|post|dev)\d+)*)")


def read_scripts(tree: Tree) -> list[FoundCommand]:
    """The servers that the scripts of one mapping start, with the environment that stands beside them."""
    found: list[FoundCommand] = []
    for key in tree.keys:
        if key not in SCRIPT_KEYS:
            continue
        node = tree.get(key)
        for each in node.value if isinstance(node, SequenceNode) else [node]:
            if isinstance(each, ScalarNode) and mentions_vllm(each.value):
                found.extend(_script(tree, each))
    if not found:
        return []
    env: dict[str, FoundWord] = {}
    for key in _ENVIRONMENT_KEYS:
        env |= environment(tree, key)
    hint = _release(tree.get("image") or tree.get("container"), tree)
    return [
        msgspec.structs.replace(command, env={**env, **command.env}, release_hint=command.release_hint or hint)
        for command in found
    ]


def _script(tree: Tree, node: ScalarNode) -> list[FoundCommand]:
    commands = read_shell(tree.mapped(node))
    if node.style in ("|", ">"):
        return commands
    # what is quoted for the shell would have to be quoted for YAML once more
    return [
        msgspec.structs.replace(
            command,
            words=tuple(
                msgspec.structs.replace(
                    word, quoting=Quoting.NONE if word.quoting is Quoting.NONE else Quoting.SHELL_IN_QUOTES
                )
                for word in command.words
            ),
        )
        for command in commands
    ]


def _release(node: Node | None, tree: Tree) -> str | None:
    """The release of the image that a job runs in."""
    if isinstance(node, MappingNode):
        node = Tree(tree.text, node).get("name") or Tree(tree.text, node).get("image")
    if not isinstance(node, ScalarNode) or "vllm" not in node.value:
        return None
    found = _TAG.search(node.value)
    return found[1].strip(".") if found else None
