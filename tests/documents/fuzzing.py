"""Texts that nobody wrote, for every reader: mutants of the corpus and heaps of what readers look for.

    python tests/documents/fuzzing.py --count 200000 [--reader shell] [--seed 4] [--first 0] [--bound 5]

gives each reader so many inputs and tells of every crash, of every input that takes more than ``--bound`` seconds of
processor time, and of the slowest. Input ``n`` of a seed is always the same text: ``--show N`` prints it. What kills
the process itself (a parser in C) is found by the number in ``--state``, where each input is noted before it is read.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from qcmatrix.answers.explain import explain
from qcmatrix.catalogue.releases import load_release, release_names
from qcmatrix.clients.client import Said
from qcmatrix.clients.judge import judge_client
from qcmatrix.clients.read import read_clients
from qcmatrix.documents.files import kind_of, read_document, read_text
from qcmatrix.documents.found import Document
from qcmatrix.errors import UserError
from qcmatrix.launch.parse import parse
from qcmatrix.launch.render import render
from qcmatrix.launch.secrets import redact_argv
from qcmatrix.launch.shell import count_launches, join_shell, split_shell, words_of
from qcmatrix.lint.judge import FileFinding, Judged, _bare
from qcmatrix.lint.run import _pinned_near, lint_text
from qcmatrix.lint.settings import Settings, read_settings
from qcmatrix.lint.subject import Wishes, subjects_of
from qcmatrix.lint.suppress import suppressed
from qcmatrix.rules.declare import Severity
from qcmatrix.startup_log.cause import cause_of
from qcmatrix.startup_log.fingerprints import fingerprints
from qcmatrix.startup_log.reader import read_log

TESTS = Path(__file__).parent.parent
CORPUS = TESTS / "corpus"
CLIENTS = (
    (
        "name: x\nmodels:\n  - name: Q\n    provider: openai\n    model: q\n    apiBase: https://localhost:30000/v1\n"
        "    apiKey: sk-1\n    defaultCompletionOptions:\n      contextLength: 128000\n      stop: [a, b]\n"
        "    roles: [chat, autocomplete]\n    capabilities: [tool_use]\n    promptTemplates:\n      autocomplete: |\n"
        "        `<|im_start|>user\n"
        "        <|fim_prefix|>{{{prefix}}}<|fim_suffix|>{{{suffix}}}<|fim_middle|><|im_end|>\n"
    ),
    (
        '{// c\n"language_models": {"openai_compatible": {"v": {"api_url": "http://localhost:1/v1", "available_models":'
        ' [{"name": "q", "max_tokens": 262144, "capabilities": {"tools": true}}]}}}, /* x */ "edit_predictions":'
        ' {"open_ai_compatible_api": {"api_url": "http://[::1]:99999/v1/completions", "model": "q"}},\n'
        '"llama-vscode.endpoint": "http://localhost:8012", "llama-vscode.api_key": "k",}'
    ),
    "export OPENAI_BASE_URL='https://localhost:30000/v1' # x\nOPENAI_API_BASE=http://h:8000\n",
    "# Use\n\n```yaml\nmodels:\n  - provider: openai\n    apiBase: http://localhost:8000\n    model: q\n```\n",
)
SETTINGS = (
    (
        '[tool.qcmatrix]\ngpus = "8xH200"\nvllm = "0.33.0"\nexclude = ["a/*"]\n[[tool.qcmatrix.ignore]]\nrule = "x"\n'
        'reason = "y"\nfiles = ["*.sh", "[a-"]\n'
    ),
    'gpus = "8xH200"\nmodel = "480b-fp8"\n[[ignore]]\nrule = "x"\nreason = " "\n',
)
REQUIREMENTS = (
    "vllm==0.10.2\ntorch\n",
    "# pins\nvllm[flashinfer] == v0.33.0 ; python_version > '3.9'\n",
    "vllm>=0.11\n",
)
SUPPRESSIONS = (
    "# qcmatrix: ignore[removed-flag] an old server\nvllm serve m --swap-space 4 # qcmatrix: ignore[a, b]: why\n",
    "<!-- qcmatrix: ignore[x] y -->\n\n```bash\nvllm serve m\n```\n// qcmatrix: ignore\n.. qcmatrix: ignore[] z\n",
)
COMMANDS = (
    (
        "vllm serve Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8 --tensor-parallel-size 8 --max-model-len 200K "
        '--enable-expert-parallel --hf-overrides \'{"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}\''
    ),
    "VLLM_USE_DEEP_GEMM=1 docker run --gpus all -e HF_TOKEN=x vllm/vllm-openai:v0.10.0 --model m -tp=8 --no-enable-x",
    "python3 -m vllm.entrypoints.openai.api_server --model m --api-key sk-1 --host 0.0.0.0 -O3 --config x.yaml",
    'M=a/b\nexport X="$M c"\nvllm serve "$M" --hf-overrides.rope.factor 4 --speculative-config.method=mtp -dp 8 -n 2',
)
WORDS = (
    "vllm serve m ", "vllm", "--tensor-parallel-size 8", "--max-model-len 1M", "--api-key sk-abc", "\\\n", "\\ \n",
    "\r\n", "\n", "\t", "  ", "'", '"', "`", "$(", "${", "${A[@]}", "$A", "$@", "{{ .Values.x }}", "{% if %}",
    "<model>", "...", "#", "|", "||", "&&", ";", "&", "<<EOF\n", "EOF\n", "(", ")", "[", "]", "{", "}", ":", "- ",
    "? ", "&a ", "*a", "<<: *a\n", "|\n", ">-\n", "!!python/object:x ", "---\n", "...\n", "%YAML 1.1\n", "```bash\n",
    "```\n", "~~~yaml\n", "> ", "    ", ".. code-block:: bash\n\n", "::\n\n", "services:\n",
    "image: vllm/vllm-openai:v0.10.0\n", "command: ", "args: [", "env:\n", "apiVersion: v1\n", "kind: ConfigMap\n",
    "FROM vllm/vllm-openai:v0.9\n", "ENV A=$A\n", "ARG X\n", "CMD [", "ENTRYPOINT ", "RUN vllm serve m\n",
    "[Service]\n", "ExecStart=vllm serve m\n", 'Environment="A=b"', "%i", "[[entry]]\n", "command = ", '"""', "'''",
    "expect = {verdict = 'starts'}\n", "fleet = '8xH200'\n", "run: |\n", "script:\n", "bash -c ", "ssh host ",
    "if true; then\n", "fi\n", "for x in 1; do ", "done\n", "while ", "case x in a) ", "esac\n", "A=(", "A+=(--b)\n",
    "export A=", "\x00", "\ufeff", "\x1b[0m", "\u2028", "\x85", "\U0001f600", "\u2026", "\u4e2d", "\ud7ff", "0x1F",
    "1e999", "-1", "99999999999999999999", "nan", "=", "==", "--", "-", "--=", "-tp", "--hf-overrides.a.b.c", "null",
    "~", "true", "qcmatrix: ignore[", "apiBase: ", "models:\n", "http://[", "https://localhost:99999/v1", "/*", "*/",
    "//", '{"a":', "vllm==", "@", "api_server ",
)  # fmt: skip


_KEYED = re.compile(r"(\s*(?:- )?)([\w.\"'-]+\s*[:=]\s*|- |\s)(.*)", re.DOTALL)


LONGEST = 6_000
"""Characters of an input."""


class Slow(Exception):
    """An input took too long."""


def mutants(seeds: Sequence[str], chooser: random.Random, *, lined: bool = False) -> str:
    """One text: a piece of a seed, or nothing, after a few edits. ``lined``: most keep their form, line by line."""
    kind = chooser.random()
    if lined and kind < 0.75:
        lines = chooser.choice(seeds).splitlines()
        for _ in range(chooser.choice((1, 1, 2, 3, 5))):
            lines = _edited_lines(lines, chooser)
        return "\n".join(lines) + "\n"
    text = "" if kind < 0.08 else chooser.choice(seeds)
    if kind < 0.7 and len(text) > 600:
        lines = text.splitlines(keepends=True)
        first = chooser.randrange(len(lines))
        text = "".join(lines[first : first + chooser.randint(1, 20)])
    for _ in range(chooser.choice((1, 1, 2, 3, 5, 8, 12))):
        text = _edited(text, seeds, chooser)
    return text[:LONGEST]


def _edited(text: str, seeds: Sequence[str], chooser: random.Random) -> str:
    at = chooser.randint(0, len(text))
    to = min(len(text), at + chooser.choice((0, 1, 1, 2, 5, 20, 80)))
    match chooser.randrange(12):
        case 0:
            return text[:at] + text[to:]
        case 1 | 2 | 3:
            return text[:at] + chooser.choice(WORDS) + text[to:]
        case 4:
            return text[:at] + "".join(chooser.choice(WORDS) for _ in range(chooser.randint(2, 12))) + text[at:]
        case 5:
            return text[:to] + text[at:to] * chooser.choice((1, 2, 10)) + text[to:]
        case 6:
            other = chooser.choice(seeds)
            first = chooser.randint(0, len(other))
            return text[:at] + other[first : first + chooser.randint(1, 300)] + text[at:]
        case 7:
            return text[:at] + chr(chooser.choice((chooser.randrange(128), chooser.randrange(0xD800)))) + text[to:]
        case 8:
            lines = text.splitlines(keepends=True)
            chooser.shuffle(lines)
            return "".join(lines)
        case 9:
            return text.replace("\n", chooser.choice(("\r\n", "\r", "\n\n", " ", "\n  ")))
        case 10:
            return text[:at]
        case _:
            times = chooser.choice((3, 30, 61, 300))
            return text[:at] + chooser.choice(WORDS)[:12] * times + text[at:]


def _edited_lines(lines: list[str], chooser: random.Random) -> list[str]:
    """A line gone, doubled, moved, or with another key or value: what comes of it can mostly still be read."""
    if not lines:
        return ["vllm serve m"]
    at, other = chooser.randrange(len(lines)), chooser.randrange(len(lines))
    here, there = _KEYED.match(lines[at]), _KEYED.match(lines[other])
    word = chooser.choice(WORDS)
    match chooser.randrange(8):
        case 0:
            return lines[:at] + lines[at + chooser.randint(1, 3) :]
        case 1:
            return lines[: at + 1] + lines[at:]
        case 2:
            return [*lines[:at], lines[other], *lines[at:]]
        case 3 if here and there:
            made = here[1] + there[2] + here[3]
        case 4 if here and there:
            made = here[1] + here[2] + there[3]
        case 5 if here:
            made = here[1] + here[2] + json.dumps(word, ensure_ascii=chooser.random() < 0.5)
        case 6 if here:
            made = f"{here[1]}{here[2]}[{here[3]}, {json.dumps(word)}]"
        case _:
            place = chooser.randint(0, len(lines[at]))
            made = lines[at][:place] + word.strip() + lines[at][place:]
    return [*lines[:at], made, *lines[at + 1 :]]


def _files(*patterns: str) -> tuple[str, ...]:
    found = [path for pattern in patterns for path in sorted(CORPUS.glob(pattern))]
    assert found, patterns
    return tuple(path.read_text(encoding="utf-8") for path in found)


def _within(document: Document) -> None:
    length = len(document.text)
    for command in document.commands:
        for word in (*command.words, *command.env.values(), *command.notes):
            assert 0 <= word.start <= word.stop <= length, word
        assert command.words
        document.place(command.start)
    for note in document.notes:
        assert 0 <= note.start <= note.stop <= length, note


def _document(name: str, kind: str | None) -> Callable[[str], None]:
    def read(text: str) -> None:
        _within(read_document(name, text, kind))

    return read


def _clients(text: str) -> None:
    for path in ("config.yaml", "settings.json", ".env", "readme.md"):
        for client in read_clients(path, text, kind_of(path, text)):
            for field in client.__struct_fields__:
                if isinstance(said := getattr(client, field), Said):
                    assert 0 <= said.start <= said.stop <= len(text), said
            judge_client(client, None)


def _file(name: str, read: Callable[[Path], object]) -> Callable[[str], None]:
    folder = Path(tempfile.mkdtemp(prefix="qcmatrix-fuzz-"))

    def checked(text: str) -> None:
        path = folder / name
        path.write_bytes(text.encode("utf-8", "surrogateescape") if len(text) % 50 else text.encode("utf-16"))
        try:
            read(path)
        except UserError:
            return

    return checked


def _settings(path: Path) -> None:
    settings = read_settings(path)
    settings.excludes("a/b.sh")
    for ignored in settings.ignore:
        ignored.covers("a/b.sh", "x")


def _requirements(path: Path) -> None:
    read_text(str(path))
    if (pinned := _pinned_near.__wrapped__(str(path.parent))) is not None:
        load_release(pinned)


def _suppressions(text: str) -> None:
    document = read_document("x.md" if "```" in text else "x.sh", text)
    findings = tuple(FileFinding(rule, Severity.ERROR, "t", "b", 0, 0) for rule in ("removed-flag", "a", "x"))
    judged = [Judged(_bare(command), None, None, findings) for command in document.commands]
    _, own = suppressed(document, judged)
    for finding in own:
        document.place(finding.start)


def _launch(text: str) -> None:
    release = load_release(RELEASES[len(text) % len(RELEASES)])
    try:
        list(words_of(text))
        count_launches(text)
        found = split_shell(text)
        for span in (*found.spans, *found.env_spans.values()):
            assert 0 <= span.start <= span.stop <= len(text)
        redact_argv(found.argv)
        parsed = parse(found.argv, release, env=found.env)
    except UserError:
        return
    join_shell(("vllm",), [render(parsed.launch, release)], parsed.launch.env, 80)


def _subjects(text: str) -> None:
    """A document's commands as launches: words that are not known among them."""
    for command in read_document("x.sh", text, "shell").commands:
        try:
            subjects_of(command, Wishes())
        except UserError:
            continue


def _log(text: str) -> None:
    data = text.encode("utf-8", "surrogateescape") if len(text) % 50 else text.encode("utf-16")
    try:
        log = read_log(io.BytesIO(data))
    except UserError:
        return
    cause_of(log.attempt)


def _explained(text: str) -> None:
    try:
        explain(read_log(io.BytesIO(text.encode("utf-8", "surrogateescape"))))
    except UserError:
        return


def _judged(text: str) -> None:
    """The whole way without a model and a card: rules, fixes, suppressions."""
    lint_text("x.yaml" if "image:" in text else "x.md" if "```" in text else "x.sh", text, Wishes(), Settings())


RELEASES = release_names()


class Reader(NamedTuple):
    """A way into the tool, and texts like those that it is given."""

    read: Callable[[str], None]
    seeds: tuple[str, ...]
    lined: bool = False
    """Do most texts stop being of that kind when characters change anywhere? (YAML, TOML)"""


def readers() -> dict[str, Reader]:
    """All of them by name."""
    shell, guides = _files("shell/*", "held_out/*.sh"), _files("guides/*.md", "held_out/*.md")
    logs = [json.loads(line)["text"] for line in
            (TESTS / "startup_log" / "public_logs.jsonl").read_text("utf-8").splitlines()]  # fmt: skip
    logs += [example.text for each in fingerprints() for example in each.examples]
    everything = _files("*/*")
    return {
        "shell": Reader(_document("x.sh", None), shell),
        "markdown": Reader(_document("x.md", None), guides),
        "restructuredtext": Reader(_document("x.rst", None), _files("guides/*.rst")),
        "compose": Reader(_document("compose.yaml", None), _files("compose/*", "held_out/*.yml"), lined=True),
        "kubernetes": Reader(_document("x.yaml", None), _files("kubernetes/*", "held_out/*.yaml"), lined=True),
        "helm": Reader(_document("values.yaml", None), _files("helm/*"), lined=True),
        "workflows": Reader(_document("ci.yml", None), _files("workflows/*"), lined=True),
        "dockerfile": Reader(_document("Dockerfile", None), _files("docker/*")),
        "systemd": Reader(_document("x.service", None), _files("systemd/*")),
        "matrix": Reader(_document("matrix.toml", None), _files("matrix/*"), lined=True),
        "unnamed": Reader(_document("x", None), everything),
        "clients": Reader(_clients, (*CLIENTS, *_files("clients/config.yaml")), lined=True),
        "settings": Reader(_file("qcmatrix.toml", _settings), SETTINGS[1:], lined=True),
        "project": Reader(_file("pyproject.toml", _settings), SETTINGS, lined=True),
        "requirements": Reader(_file("requirements.txt", _requirements), REQUIREMENTS),
        "suppressions": Reader(_suppressions, (*SUPPRESSIONS, *shell)),
        "launch": Reader(_launch, (*COMMANDS, *shell)),
        "subjects": Reader(_subjects, (*COMMANDS, *shell)),
        "startup-log": Reader(_log, tuple(logs)),
        "explain": Reader(_explained, tuple(logs)),
        "check": Reader(_judged, (*COMMANDS, *SUPPRESSIONS, *everything)),
    }


def texts(name: str, reader: Reader, *, first: int, count: int, seed: int) -> Iterator[tuple[int, str]]:
    """The inputs ``first`` to ``first + count`` of ``seed``, each with its number."""
    for number in range(first, first + count):
        yield number, mutants(reader.seeds, random.Random(f"{seed} {name} {number}"), lined=reader.lined)  # noqa: S311


class Outcome(msgspec.Struct):
    """What became of the inputs of one reader."""

    reader: str
    inputs: int = 0
    seconds: float = 0.0
    crashes: list[tuple[int, str]] = []
    slow: list[int] = []
    slowest: float = 0.0
    slowest_input: int = -1


def fuzz(
    name: str,
    *,
    first: int = 0,
    count: int,
    seed: int,
    bound: float | None = None,
    state: int | None = None,
) -> Outcome:
    """Give ``count`` inputs to a reader. ``bound`` is the processor time, in seconds, that one may take."""
    reader = readers()[name]
    outcome = Outcome(name)
    begin = time.process_time()
    for number, text in texts(name, reader, first=first, count=count, seed=seed):
        if state is not None:
            os.pwrite(state, f"{name} {number}".ljust(60).encode(), 0)
        if bound is not None:
            signal.setitimer(signal.ITIMER_PROF, bound)
            faulthandler.dump_traceback_later(20 * bound + 60, exit=True)  # what no signal can stop
        start = time.process_time()
        try:
            reader.read(text)
        except Slow:
            outcome.slow.append(number)
        except Exception:
            outcome.crashes.append((number, traceback.format_exc(limit=-4)))
            if bound is not None:
                sys.stdout.write(f"{name}, input {number}:\n{traceback.format_exc(limit=-4)}\n")
                sys.stdout.flush()
        finally:
            if bound is not None:
                signal.setitimer(signal.ITIMER_PROF, 0)
        taken = time.process_time() - start
        if taken > outcome.slowest:
            outcome.slowest, outcome.slowest_input = taken, number
        outcome.inputs += 1
    faulthandler.cancel_dump_traceback_later()
    outcome.seconds = time.process_time() - begin
    return outcome


def _stop(*_: object) -> None:
    raise Slow


def main() -> int:
    """The big run."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--reader", action="append", choices=tuple(readers()))
    options.add_argument("--count", type=int, default=200_000)
    options.add_argument("--first", type=int, default=0)
    options.add_argument("--seed", type=int, default=4)
    options.add_argument("--bound", type=float, default=5.0)
    options.add_argument("--state", type=Path)
    options.add_argument("--show", type=int, help="print this input of the reader and read it without a bound")
    given = options.parse_args()
    chosen = given.reader or list(readers())
    if given.show is not None:
        ((_, text),) = texts(chosen[0], readers()[chosen[0]], first=given.show, count=1, seed=given.seed)
        sys.stdout.write(text)
        sys.stdout.flush()
        readers()[chosen[0]].read(text)
        return 0
    faulthandler.enable()
    signal.signal(signal.SIGPROF, _stop)
    state = None if given.state is None else os.open(given.state, os.O_RDWR | os.O_CREAT)
    bad = 0
    for name in chosen:
        found = fuzz(name, first=given.first, count=given.count, seed=given.seed, bound=given.bound, state=state)
        bad += len(found.crashes) + len(found.slow)
        sys.stdout.write(
            f"{name}: {found.inputs:,} inputs in {found.seconds:.0f} s, {len(found.crashes)} crashes, "
            f"{len(found.slow)} over {given.bound} s {found.slow[:10]}, "
            f"slowest {found.slowest:.2f} s (input {found.slowest_input})\n"
        )
        sys.stdout.flush()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
