"""Kubernetes manifests: Deployment, StatefulSet, Job, LeaderWorkerSet, KServe ... and Helm values that are plain YAML.

A container looks the same in all of them, so it is looked for wherever it may stand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from qcmatrix.documents.containers import Container, environment, scalar_words, word_of
from qcmatrix.documents.filling import Filling
from qcmatrix.documents.found import FoundCommand, FoundWord, Quoting
from qcmatrix.documents.mapped import Mapped
from qcmatrix.documents.scripts import SCRIPT_KEYS, read_scripts
from qcmatrix.documents.shell import mentions_vllm, read_shell
from qcmatrix.documents.yaml_tree import Tree

__all__ = ["read_kubernetes"]

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][\w.-]*)\)")
_GPU_RESOURCES = ("nvidia.com/gpu", "amd.com/gpu")
_VALUES_FLAGS = {
    "tensorParallelSize": "--tensor-parallel-size",
    "pipelineParallelSize": "--pipeline-parallel-size",
    "dataParallelSize": "--data-parallel-size",
    "maxModelLen": "--max-model-len",
    "maxNumSeqs": "--max-num-seqs",
    "maxNumBatchedTokens": "--max-num-batched-tokens",
    "gpuMemoryUtilization": "--gpu-memory-utilization",
    "dtype": "--dtype",
}
"""``vllmConfig`` of the production-stack chart,
https://github.com/vllm-project/production-stack/blob/main/helm/values.yaml (2026-11-22)."""


def read_kubernetes(text: str, root: Node) -> list[FoundCommand]:
    """The servers of every container below ``root``, in the order of the document."""
    found: list[FoundCommand] = []
    for tree in _mappings(text, root):
        if "modelURL" in tree and "vllmConfig" in tree:
            found.extend(_model_spec(tree))
        elif "args" in tree and _is_served_by_vllm(tree):
            found.extend(_predictor(tree))
        elif _is_container(tree):
            found.extend(_container(tree))
        elif "repository" in tree and isinstance(tree.get("command"), SequenceNode):
            found.extend(_image_with_command(tree))
        elif tree.text_of("kind") == "ConfigMap" and (data := tree.tree("data")) is not None:
            found.extend(_scripts(data))
        if not SCRIPT_KEYS.isdisjoint(tree.keys):
            found.extend(read_scripts(tree))
    return found


def _mappings(text: str, root: Node) -> Iterator[Tree]:
    """Every mapping once, also where aliases lead to it again."""
    seen: set[int] = set()
    stack = [root]
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, MappingNode):
            yield Tree(text, node)
            stack.extend(value for _, value in reversed(node.value))
        elif isinstance(node, SequenceNode):
            stack.extend(reversed(node.value))


def _is_container(tree: Tree) -> bool:
    return "image" in tree and any(key in tree for key in ("command", "args", "env", "resources", "extraArgs"))


def _container(tree: Tree) -> list[FoundCommand]:
    env = environment(tree, "env")
    command, more = scalar_words(tree, "command")
    arguments, more_arguments = scalar_words(tree, "args")
    container = Container(
        image=_image(tree),
        entrypoint=command,
        arguments=arguments or (),
        env=env,
        gpus=_gpus(tree),
        open_ended=more or more_arguments,
        fill=lambda text: _filled(text, env),
    )
    return container.commands(tree.text)


def _is_served_by_vllm(tree: Tree) -> bool:
    form = tree.tree("modelFormat")
    return form is not None and (form.text_of("name") or "").lower() == "vllm" and "image" not in tree


def _predictor(tree: Tree) -> list[FoundCommand]:
    """``spec.predictor.model`` of KServe: options for the server of a runtime that stands elsewhere; the model is what
    ``storageUri`` names where that is Hugging Face's, https://kserve.github.io/website (2026-11-28)."""
    arguments, more = scalar_words(tree, "args")
    if not arguments:
        return []
    uri = tree.get("storageUri")
    place = uri if isinstance(uri, ScalarNode) else tree.node
    start, stop = place.start_mark.index, place.end_mark.index
    named = any(re.fullmatch(r"--model(?:=.*)?", word.text) for word in arguments)
    lead = ["vllm", "serve"]
    model: list[FoundWord] = []
    if not named:
        repository = uri.value.removeprefix("hf://") if isinstance(uri, ScalarNode) else ""
        known = isinstance(uri, ScalarNode) and uri.value.startswith("hf://") and repository != ""
        name = repository if known else "/mnt/models"
        model = [FoundWord(name, start, stop, Quoting.NONE, resolved=known, own=False)]
    words = [FoundWord(text, start, stop, Quoting.NONE, own=False) for text in lead]
    env = environment(tree, "env")
    return [FoundCommand((*words, *model, *arguments), env=env, gpus=_gpus(tree), open_ended=more, contained=True)]


def _image_with_command(tree: Tree) -> list[FoundCommand]:
    """``image: {repository, tag, command}`` of vLLM's own chart,
    https://github.com/vllm-project/vllm/tree/main/examples/online_serving/chart-helm (2026-11-22)."""
    command, more = scalar_words(tree, "command")
    place = tree.node
    name = f"{tree.text_of('repository')}:{tree.text_of('tag') or 'latest'}"
    image = FoundWord(name, place.start_mark.index, place.end_mark.index, Quoting.NONE)
    return Container(image, command, (), {}, open_ended=more).commands(tree.text)


def _filled(text: Mapped, env: dict[str, FoundWord]) -> tuple[Mapped, bool]:
    """Kubernetes fills in ``$(NAME)`` from the container's own environment; ``$$`` is a dollar."""

    def value(found: re.Match[str]) -> str | None:
        if found[1] is None:
            return "$"
        word = env.get(found[1])
        return word.text if word is not None and word.resolved else None

    filling = Filling(value)
    return text.replaced(_REFERENCE, filling), filling.known


def _image(tree: Tree) -> FoundWord | None:
    """``repository:tag``, in one text or, as charts write it, in two."""
    node = tree.get("image")
    if isinstance(node, ScalarNode):
        return word_of(node)
    inner = tree.tree("image")
    if inner is None or node is None or inner.text_of("repository") is None:
        return None
    name = f"{inner.text_of('repository')}:{inner.text_of('tag') or 'latest'}"
    return FoundWord(name, node.start_mark.index, node.end_mark.index, Quoting.NONE)


def _gpus(tree: Tree) -> int | None:
    for kind in ("limits", "requests"):
        resources = tree.tree("resources", kind)
        for name in _GPU_RESOURCES:
            count = resources.text_of(name) if resources is not None else None
            if count is not None and re.fullmatch(r"[1-9]\d{0,2}", count):
                return int(count)
    return None


def _scripts(data: Tree) -> Iterator[FoundCommand]:
    """Scripts that a ConfigMap carries."""
    for key in data.keys:
        node = data.get(key)
        if isinstance(node, ScalarNode) and mentions_vllm(node.value):
            yield from read_shell(data.mapped(node))


def _model_spec(tree: Tree) -> list[FoundCommand]:
    """One model of the production-stack chart: its settings are options under other names."""
    config = tree.tree("vllmConfig")
    model = tree.get("modelURL")
    if config is None or not isinstance(model, ScalarNode):
        return []
    words = [msgspec.structs.replace(word_of(model), quoting=Quoting.NONE)]
    for key in config.keys:
        node = config.get(key)
        if key in _VALUES_FLAGS and isinstance(node, ScalarNode):
            value = msgspec.structs.replace(word_of(node), quoting=Quoting.NONE)
            words += [msgspec.structs.replace(value, text=_VALUES_FLAGS[key], own=False), value]
        elif key == "enablePrefixCaching" and isinstance(node, ScalarNode) and node.value == "true":
            words.append(FoundWord("--enable-prefix-caching", node.start_mark.index, node.end_mark.index, Quoting.NONE))
    extra, more = scalar_words(config, "extraArgs")
    words += extra or ()
    place = words[0]
    lead = [FoundWord(text, place.start, place.stop, Quoting.NONE, own=False) for text in ("vllm", "serve")]
    hint = None
    if "vllm" in (tree.text_of("repository") or "") and (
        found := re.match(r"v?(\d+\.\d+[\w.]*)", tree.text_of("tag") or "")
    ):
        hint = found[1]
    count = tree.text_of("requestGPU")
    gpus = int(count) if count is not None and re.fullmatch(r"[1-9]\d{0,2}", count) else None
    return [
        FoundCommand(
            (*lead, *words), env=environment(config, "env") | environment(tree, "env"), release_hint=hint,
            open_ended=more, gpus=gpus,
        )
    ]  # fmt: skip
