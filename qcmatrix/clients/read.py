"""Reading what clients are told: Continue's ``config.yaml``, Zed's and VS Code's ``settings.json``, URLs in ``.env``.

Formats: https://docs.continue.dev/reference, https://zed.dev/docs/ai/edit-prediction,
https://github.com/ggml-org/llama.vscode (all 2026-11-22).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath

from yaml.nodes import MappingNode, Node, ScalarNode

from qcmatrix.clients.client import Client, ClientKind, Said
from qcmatrix.documents.mapped import Mapped
from qcmatrix.documents.markup import markdown_blocks, restructured_blocks
from qcmatrix.documents.yaml_tree import Tree, YamlProblemError, read_yaml

__all__ = ["read_clients"]

_COMMENT = re.compile(r'"(?:[^"\\\n]|\\.)*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_BASE_URL = re.compile(
    r"^[ \t]*(?:export[ \t]+)?(OPENAI_(?:API_BASE|BASE_URL))[ \t]*=[ \t]*([\"']?)(https?://[^\s\"'#]+)\2", re.MULTILINE
)
_HINTS = re.compile(
    r"apiBase|promptTemplates|language_models|edit_predictions|llama-vscode|OPENAI_(?:API_BASE|BASE_URL)"
)
_LARGEST = 2_000_000
_BYTE_ORDER_MARK = "\ufeff"


def read_clients(path: str, text: str, kind: str | None) -> list[Client]:
    """The models that ``text`` tells a client of; ``kind`` as :func:`qcmatrix.documents.files.kind_of` has it."""
    if len(text) > _LARGEST or _HINTS.search(text) is None:
        return []
    if text.startswith(_BYTE_ORDER_MARK):
        whole = Mapped.whole(text[1:], 1)
        return [_moved(client, whole) for client in read_clients(path, whole.text, kind)]
    if kind in ("markdown", "restructuredtext"):
        blocks = markdown_blocks(text) if kind == "markdown" else restructured_blocks(text)
        return [client for block in blocks for client in _in_block(block.language, block.text)]
    name = PurePath(path).name.lower()
    if name.endswith((".json", ".jsonc")):
        return list(_settings(text))
    if kind in ("yaml",) or name.endswith((".yaml", ".yml")):
        return list(_continue(text))
    return list(_base_urls(text))


def _in_block(language: str, block: Mapped) -> Iterator[Client]:
    if language in ("yaml", "yml", ""):
        found = list(_continue(block.text))
    elif language in ("json", "jsonc", "json5"):
        found = list(_settings(block.text))
    else:
        found = list(_base_urls(block.text))
    for client in found:
        yield _moved(client, block)


def _moved(client: Client, block: Mapped) -> Client:
    import msgspec

    changes = {
        field: Said(value.text, *block.span(value.start, max(value.stop, value.start + 1)))
        for field in client.__struct_fields__
        if isinstance(value := getattr(client, field), Said)
    }
    return msgspec.structs.replace(client, **changes)


def _said(tree: Tree | None, key: str) -> Said | None:
    node = tree.get(key) if tree is not None else None
    return _of(node) if isinstance(node, ScalarNode) else None


def _of(node: Node) -> Said:
    return Said(node.value if isinstance(node, ScalarNode) else "", node.start_mark.index, node.end_mark.index)


def _roots(text: str) -> Iterator[Tree]:
    try:
        for root in read_yaml(text):
            if isinstance(root, MappingNode):
                yield Tree(text, root)
    except YamlProblemError:
        return


def _continue(text: str) -> Iterator[Client]:
    for root in _roots(text):
        for node in root.items("models"):
            if isinstance(node, MappingNode):
                model = Tree(text, node)
                if "provider" in model or "apiBase" in model:
                    yield _continue_model(model)


def _continue_model(tree: Tree) -> Client:
    options, templates = tree.tree("defaultCompletionOptions"), tree.tree("promptTemplates")
    roles = [node.value for node in tree.items("roles") if isinstance(node, ScalarNode)]
    tools = next(
        (_of(node) for node in tree.items("capabilities") if isinstance(node, ScalarNode) and node.value == "tool_use"),
        None,
    )
    stop = options.items("stop") if options is not None else []
    return Client(
        kind=ClientKind.CONTINUE,
        place=_said(tree, "name") or _of(tree.node),
        provider=tree.text_of("provider") or "",
        model=_said(tree, "model"),
        base_url=_said(tree, "apiBase"),
        api_key=_said(tree, "apiKey"),
        context_length=_said(options, "contextLength") or _said(tree, "contextLength"),
        max_tokens=_said(options, "maxTokens"),
        completes="autocomplete" in roles,
        calls_tools=tools,
        template=_said(templates, "autocomplete") or _said(tree.tree("autocompleteOptions"), "template"),
        max_stop_words=_said(tree, "maxStopWords"),
        stop_words=len(stop) or None,
        chat_endpoint=tree.text_of("useLegacyCompletionsEndpoint") == "false",
    )


def _settings(text: str) -> Iterator[Client]:
    """Zed and VS Code: JSON with comments, which are made blank so that the places stay."""
    plain = _COMMENT.sub(lambda found: found[0] if found[0].startswith('"') else re.sub(r"[^\n]", " ", found[0]), text)
    # a tab may stand between the words of JSON, not of YAML
    for root in _roots(plain.replace("\t", " ")):
        yield from _zed(root)
        yield from _llama_vscode(root)


def _zed(root: Tree) -> Iterator[Client]:
    providers = root.tree("language_models", "openai_compatible")
    for name in providers.keys if providers is not None else ():
        provider = providers.tree(name) if providers is not None else None
        for node in provider.items("available_models") if provider is not None else ():
            if isinstance(node, MappingNode):
                model = Tree(root.text, node)
                capabilities = model.tree("capabilities")
                tools = _said(capabilities, "tools")
                yield Client(
                    kind=ClientKind.ZED,
                    place=_said(model, "name") or _of(node),
                    model=_said(model, "name"),
                    base_url=_said(provider, "api_url"),
                    context_length=_said(model, "max_tokens"),
                    max_tokens=_said(model, "max_output_tokens"),
                    calls_tools=tools if tools is not None and tools.text == "true" else None,
                )
    prediction = root.tree("edit_predictions", "open_ai_compatible_api")
    if prediction is not None:
        yield Client(
            kind=ClientKind.ZED,
            place=_said(prediction, "model") or _of(prediction.node),
            model=_said(prediction, "model"),
            base_url=_said(prediction, "api_url"),
            max_tokens=_said(prediction, "max_output_tokens"),
            completes=True,
            prompt_format=_said(prediction, "prompt_format"),
            stop_words=4,
        )


def _llama_vscode(root: Tree) -> Iterator[Client]:
    url = _said(root, "llama-vscode.endpoint")
    if url is None:
        return
    uses_openai = root.text_of("llama-vscode.use_openai_endpoint") == "true"
    yield Client(
        kind=ClientKind.LLAMA_VSCODE,
        place=url,
        provider="openai" if uses_openai else "llama.cpp",
        model=_said(root, "llama-vscode.openai_client_model"),
        base_url=url,
        api_key=_said(root, "llama-vscode.api_key"),
        max_tokens=_said(root, "llama-vscode.n_predict"),
        completes=True,
        template=_said(root, "llama-vscode.openai_prompt_template"),
        stop_words=0,
    )


def _base_urls(text: str) -> Iterator[Client]:
    for found in _BASE_URL.finditer(text):
        url = Said(found[3], found.start(3), found.end(3))
        yield Client(kind=ClientKind.OPENAI, place=Said(found[1], found.start(1), found.end(1)), base_url=url)
