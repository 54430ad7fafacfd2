"""Does a file parse? Python's own parser for Python, tree-sitter's grammars for the rest."""

from __future__ import annotations

import ast
import importlib

from qcmatrix.suites.declare import NotApplicable

__all__ = ["LANGUAGES", "syntax_error"]

_GRAMMARS = {
    "javascript": ("tree_sitter_javascript", "language"),
    "typescript": ("tree_sitter_typescript", "language_typescript"),
    "go": ("tree_sitter_go", "language"),
    "rust": ("tree_sitter_rust", "language"),
    "java": ("tree_sitter_java", "language"),
    "cpp": ("tree_sitter_cpp", "language"),
    "bash": ("tree_sitter_bash", "language"),
}
LANGUAGES = ("python", *_GRAMMARS)


def syntax_error(language: str, text: str) -> str:
    """What does not parse and in which line; empty where all does.

    Raises:
        NotApplicable: the grammar is not installed.
    """
    if language == "python":
        try:
            ast.parse(text)
        except (SyntaxError, ValueError) as error:
            return f"line {getattr(error, 'lineno', None) or '?'}: {getattr(error, 'msg', None) or error}"
        return ""
    return _by_grammar(language, text)


def _by_grammar(language: str, text: str) -> str:
    # The grammars are shared objects of some MB each: nobody but these checks needs them.
    module, function = _GRAMMARS[language]
    try:
        from tree_sitter import Language, Parser

        grammar = importlib.import_module(module)
    except ImportError as error:
        raise NotApplicable(f"the grammar of {language} is not installed ({error.name})") from None
    tree = Parser(Language(getattr(grammar, function)())).parse(text.encode())
    root = tree.root_node
    if not root.has_error:
        return ""
    waiting = [root]
    while waiting:
        node = waiting.pop(0)
        if node.is_error or node.is_missing:
            return f"line {node.start_point[0] + 1}: {'missing ' if node.is_missing else 'unexpected '}{node.type}"
        waiting += [child for child in node.children if child.has_error]
    return "it does not parse"
