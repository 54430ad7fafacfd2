"""``vllm serve`` words -> a typed launch, as the argument parser of one release reads them.

What argparse does with the words (prefix abbreviations, ``nargs``, choices, the last one wins) is re-done here against
the release's surface, so that nothing of vLLM has to be installed and every problem is found, not only the first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from qcmatrix.catalogue.releases import Flag, Release
from qcmatrix.launch.command import Form, locate
from qcmatrix.launch.flexible import Word, rewrite
from qcmatrix.launch.launch import Launch, Span
from qcmatrix.launch.parsed import Parsed, Problem, ProblemKind
from qcmatrix.launch.values import ValueRefusedError, read_value, takes_no_value
from qcmatrix.versions import Range

__all__ = ["Parsed", "Problem", "ProblemKind", "closest_names", "parse"]

_NEGATIVE_NUMBER = re.compile(r"-\d+|-\d*\.\d+")
_MODEL_OPTION_REFUSED = Range(None, "0.11.1")
"""``vllm serve --model M`` is a ``ValueError``; later it is a warning."""
_NAMES_NEED_A_MODEL = Range("0.17.0", None)
"""``vllm serve --served-model-name N`` without a positional model is a ``ValueError``."""
_SERVED_NAMES = re.compile(r"--served[-_]model[-_]name(=.+|$)")
_CONFIG = re.compile(r"--config(=.+|$)")


class _Surface(msgspec.Struct, frozen=True):
    """The option names of a release, ready for look-up."""

    flags: Mapping[str, Flag]
    negations: Mapping[str, Flag]
    names: tuple[str, ...]
    long_names: tuple[str, ...]


@lru_cache(maxsize=64)
def _surface(release: Release) -> _Surface:
    flags, negations = dict(release.flag_by_name), release.flag_by_negation
    if (short := flags.get("-O")) is not None and short.dest == "optimization_level":
        del flags["-O"]  # spelled out before argparse sees it, and unknown to argparse where it was not
    names = (*flags, *negations)
    return _Surface(flags, negations, names, tuple(name for name in names if name.startswith("--")))


def closest_names(name: str, release: Release, count: int = 3) -> tuple[str, ...]:
    """Option names of ``release`` that ``name`` may be a slip of, best first."""
    head = name.partition("=")[0].partition(".")[0].replace("_", "-")
    return _closest(head, _surface(release).long_names, count, 0.75)


@lru_cache(maxsize=4096)  # files repeat their mistakes
def _closest(text: str, names: tuple[str, ...], count: int, cutoff: float) -> tuple[str, ...]:
    from difflib import get_close_matches  # only on the way to an error message

    return tuple(get_close_matches(text, names, n=count, cutoff=cutoff))


def parse(argv: Sequence[str], release: Release, *, env: Mapping[str, str] | None = None) -> Parsed:
    """The launch that ``argv`` asks for under ``release``.

    ``env`` is the environment that stands outside of the words; assignments among them win.

    Raises:
        RequestError: there is no server command in it (see :func:`qcmatrix.launch.command.locate`).
    """
    command = locate(argv)
    reader = _Reader(release, command.form)
    reader.read([Word(text, index, index + 1) for index, text in command.arguments])
    problems = sorted(reader.problems, key=lambda problem: (problem.span.start, problem.span.stop, problem.kind))
    return Parsed(
        launch=Launch(
            model=reader.model or "",
            options=reader.options,
            env={**(env or {}), **command.env},
            unknown=tuple(reader.unknown),
        ),
        spans=reader.spans,
        model_span=reader.model_span,
        problems=tuple(problems),
        form=command.form,
        env_spans=command.env_spans,
        release_hint=command.release_hint,
        prefix=command.prefix,
    )


class _Reader:
    """argparse's pass over the words."""

    def __init__(self, release: Release, form: Form) -> None:
        self.release = release
        self.version = release.version
        self.form = form
        self.surface = _surface(release)
        self.options: dict[str, Any] = {}
        self.spans: dict[str, Span] = {}
        self.unknown: list[str] = []
        self.problems: list[Problem] = []
        self.model: str | None = None
        self.model_span: Span | None = None
        self._positional: Word | None = None
        self._model_by_option = False
        self._given: dict[str, Word] = {}  # how each option was given last, to tell a repetition
        self._loose: list[tuple[int, Word]] = []  # values of unknown options: (index in unknown, word)

    def problem(
        self,
        kind: ProblemKind,
        text: str,
        words: Sequence[Word],
        *,
        closest: tuple[str, ...] = (),
        refused: bool = True,
    ) -> None:
        span = Span(min(word.start for word in words), max(word.stop for word in words))
        self.problems.append(Problem(kind, text, span, tuple(word.text for word in words), closest, refused))

    def read(self, given: list[Word]) -> None:
        self._model_by_option = any(word.text == "--model" or word.text.startswith("--model=") for word in given)
        words, dangling = rewrite(given, self.version)
        for lost in dangling:
            word = Word(lost.text, lost.start, lost.start + 1)
            self.problem(ProblemKind.MISSING_VALUE, f"{lost.text}: a dotted option without a value", [word])
        position = 0
        while position < len(words):
            position = self._step(words, position)
        self._finish(given)

    def _step(self, words: list[Word], position: int) -> int:
        word = words[position]
        if word.text == "--":  # nothing behind it is an option
            for each in words[position + 1 :]:
                self._take_positional(each)
            return len(words)
        if not self._is_option(word.text):
            self._take_positional(word)
            return position + 1
        name, value, candidates = self._match(word.text)
        values: list[Word] = []
        stop = position + 1
        if not candidates:
            if "=" not in word.text:
                stop = self._run(words, stop)
            self._keep_unknown(word, words[position + 1 : stop])
            return stop
        if len(candidates) > 1:
            shown = ", ".join(candidates)
            text = f"ambiguous option: {name} could match {shown}"
            stop = self._run(words, stop)
            self.problem(ProblemKind.AMBIGUOUS_FLAG, text, [word], closest=tuple(candidates))
            self.unknown.extend(self._source(each) for each in words[position:stop])
            return stop
        flag = self.surface.flags.get(candidates[0])
        negated = flag is None
        if flag is None:
            flag = self.surface.negations[candidates[0]]
        if value is not None:
            if negated or takes_no_value(flag):
                text = f"argument {_shown(flag)}: ignored explicit argument {value!r}"
                self.problem(ProblemKind.BAD_VALUE, text, [word])
                return stop
            values = [Word(value, word.start, word.stop, word.dotted)]
        elif not (negated or takes_no_value(flag)):
            last = self._run(words, stop)
            least, most = _counts(flag)
            if last - stop < least:
                self.problem(ProblemKind.MISSING_VALUE, f"argument {_shown(flag)}: {_expected(flag)}", [word])
                return last
            last = min(last, stop + most)
            values, stop = words[stop:last], last
        self._store(flag, word, values, negated=negated)
        return stop

    def _run(self, words: list[Word], start: int) -> int:
        """The end of the run of values that starts at ``start``."""
        while start < len(words) and not self._is_option(words[start].text):
            start += 1
        return start

    def _is_option(self, text: str) -> bool:
        """Does argparse take ``text`` for an option rather than for a value?"""
        if not text.startswith("-") or len(text) == 1:
            return False
        if text in self.surface.flags or text in self.surface.negations:
            return True
        if _NEGATIVE_NUMBER.fullmatch(text):
            return False
        return " " not in text.partition("=")[0] or bool(self._match(text)[2])

    def _match(self, text: str) -> tuple[str, str | None, list[str]]:
        """Name, explicit value and the known names that ``text`` can stand for."""
        surface = self.surface
        if text in surface.flags or text in surface.negations:
            return text, None, [text]
        name, equals, value = text.partition("=")
        explicit = value if equals else None
        if equals and (name in surface.flags or name in surface.negations):
            return name, explicit, [name]
        if text.startswith("--"):
            return name, explicit, [known for known in surface.names if known.startswith(name)]
        found = [known for known in surface.names if known.startswith(text)]
        if text[:2] in surface.flags:  # -n2: a short option with its value attached
            return text[:2], text[2:], [text[:2], *found]
        return text, None, found

    def _take_positional(self, word: Word) -> None:
        if self._positional is None and not (self._model_by_option and self.form is not Form.MODULE):
            self._positional = word
            if self.form is not Form.MODULE:
                self.model, self.model_span = word.text, Span(word.start, word.stop)
            return
        # `vllm serve --model M` moves M to the front, so any other word is one too many.
        self.unknown.append(word.text)
        self.problem(ProblemKind.STRAY_WORD, f"unrecognized arguments: {word.text}", [word])

    def _keep_unknown(self, word: Word, values: Sequence[Word]) -> None:
        source = word.dotted or (word.text,)
        shown = [Word(text, word.start, word.stop) for text in source]
        name = source[0].partition("=")[0]
        if word.dotted:
            values = ()
        self.unknown.extend(source)
        for value in values:
            self._loose.append((len(self.unknown), value))
            self.unknown.append(value.text)
        text = f"unrecognized arguments: {' '.join([*source, *(value.text for value in values)])}"
        self.problem(ProblemKind.UNKNOWN_FLAG, text, [*shown, *values], closest=closest_names(name, self.release))

    def _source(self, word: Word) -> str:
        return " ".join(word.dotted) if word.dotted else word.text

    def _store(self, flag: Flag, word: Word, values: Sequence[Word], *, negated: bool) -> None:
        span = Span(word.start, max([word.stop, *(value.stop for value in values)]))
        if flag.dest == "model":
            self._model_option(values[0].text, span, [word, *values])
            return
        try:
            value = self._value(flag, values, negated=negated)
        except ValueRefusedError as problem:
            if any("$" in each.text for each in values):
                text = f"{flag.names[0]} {values[-1].text}: the variable is not set here, its value is unknown"
                self.problem(ProblemKind.UNEXPANDED, text, [word, *values], refused=False)
                return
            kind = ProblemKind.BAD_CHOICE if problem.choices else ProblemKind.BAD_VALUE
            closest: tuple[str, ...] = ()
            if problem.choices:
                closest = _closest(values[-1].text, problem.choices, 3, 0.5)
            self.problem(kind, f"argument {_shown(flag)}: {problem}", [word, *values], closest=closest)
            return
        before = self._given.get(flag.dest)
        if flag.repeatable:
            value = [*self.options.get(flag.dest, ()), value]
        elif before is not None:
            self._repeated(flag, before, word)
        self._given[flag.dest] = word
        self.options[flag.dest] = value
        self.spans[flag.dest] = span
        if flag.dest == "config":
            self._config_file(word, values)

    def _value(self, flag: Flag, values: Sequence[Word], *, negated: bool) -> Any:
        if takes_no_value(flag):
            # --disable-x of a store_false option (dest enable_x, default true) means False.
            return not (negated or _stores_false(flag))
        if flag.nargs == "?" and not values:
            return True
        read = [read_value(flag, value.text, self.version) for value in values]
        return read if flag.nargs in ("+", "*") or isinstance(flag.nargs, int) else read[0]

    def _repeated(self, flag: Flag, before: Word, word: Word) -> None:
        name = flag.names[0]
        if word.dotted and not before.dotted:
            text = f"{name}.* comes behind the JSON of {before.text} and replaces it as a whole"
            self.problem(ProblemKind.DOTTED_REPLACES_JSON, text, [word], refused=False)
        else:
            text = f"{name} is given more than once: the last one counts"
            self.problem(ProblemKind.REPEATED_FLAG, text, [word], refused=False)

    def _model_option(self, model: str, span: Span, words: Sequence[Word]) -> None:
        self.model, self.model_span = model, span
        if self.form is not Form.SERVE:
            return
        refused = self.version in _MODEL_OPTION_REFUSED
        text = (
            "With `vllm serve`, you should provide the model as a positional argument or in a config file "
            "instead of via the `--model` option."
        )
        self.problem(ProblemKind.MODEL_OPTION, text, words, refused=refused)

    def _config_file(self, word: Word, values: Sequence[Word]) -> None:
        refused = False
        extension = values[0].text.rpartition(".")[2]
        if word.text != "--config":
            text = f"{word.text}: vLLM reads the file only when it is given as `--config FILE`, with a space"
        elif extension not in ("yaml", "yml"):
            text, refused = f"Config file must be of a yaml/yml type. {extension} supplied", True
        else:
            text = f"{values[0].text}: the options in this file are not read here"
        self.problem(ProblemKind.CONFIG_FILE, text, [word, *values], refused=refused)

    def _finish(self, given: Sequence[Word]) -> None:
        if self.form is Form.MODULE and self._positional is not None:
            self._module_positional(self._positional)
        if self.model is None and self._loose:
            self._model_from_loose()
        if self.model is None and "config" not in self.options:
            span = Span(given[0].start, given[-1].stop) if given else Span(0, 0)
            text = "no model is given: vLLM would serve its default model"
            self.problems.append(Problem(ProblemKind.NO_MODEL, text, span, refused=False))
        if self.form is Form.SERVE and self.version in _NAMES_NEED_A_MODEL and not self._model_by_option:
            self._names_without_model(given)

    def _names_without_model(self, given: Sequence[Word]) -> None:
        """``--served-model-name`` wants the model as the very first word, or a configuration file."""
        names = next((word for word in given if _SERVED_NAMES.match(word.text)), None)
        if names is None or not given[0].text.startswith("-") or any(_CONFIG.match(word.text) for word in given):
            return
        text = (
            "`model` should be provided as the first positional argument when using `vllm serve`. "
            "i.e. `vllm serve <model> --<arg> <value>`."
        )
        self.problem(ProblemKind.NO_MODEL, text, [names])

    def _module_positional(self, word: Word) -> None:
        """The module reads its model from ``--model`` and lets a lone word pass."""
        if self.model is None:  # what was meant; the server would take its default model
            self.model, self.model_span = word.text, Span(word.start, word.stop)
        else:
            self.unknown.append(word.text)
        text = f"{word.text}: the module takes its model from `--model` only and ignores this word"
        self.problem(ProblemKind.MODEL_IGNORED, text, [word], refused=False)

    def _model_from_loose(self) -> None:
        """The last value behind an unknown option that looks like a model is the model: argparse takes it so too."""
        for index, word in reversed(self._loose):
            if "/" in word.text:
                del self.unknown[index]
                self.model, self.model_span = word.text, Span(word.start, word.stop)
                return


def _shown(flag: Flag) -> str:
    """An option as argparse names it in its messages."""
    return "/".join((*flag.names, *flag.negations))


def _stores_false(flag: Flag) -> bool:
    return flag.type == "bool" and not flag.negations and flag.default is True


def _counts(flag: Flag) -> tuple[int, int]:
    """Least and most words that the option takes."""
    many = 1 << 30
    match flag.nargs:
        case "+":
            return 1, many
        case "*":
            return 0, many
        case "?":
            return 0, 1
        case int(count):
            return count, count
        case _:
            return 1, 1


def _expected(flag: Flag) -> str:
    match flag.nargs:
        case "+":
            return "expected at least one argument"
        case int(count) if count != 1:
            return f"expected {count} arguments"
        case _:
            return "expected one argument"
