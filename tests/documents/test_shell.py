"""Commands in shell scripts: their words, their places, and what cannot be known."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcmatrix.documents.found import FoundCommand
from qcmatrix.documents.mapped import Mapped
from qcmatrix.documents.shell import read_shell


def only(script: str) -> FoundCommand:
    (command,) = read_shell(Mapped.whole(script))
    return command


def texts(script: str) -> list[str]:
    return [word.text for word in only(script).words]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("vllm serve m --a 1", "vllm serve m --a 1"),
        ("vllm serve m \\\n  --a 1 \\\n  --b\n", "vllm serve m --a 1 --b"),
        ("vllm serve m \\\r\n  --a 1\r\n", "vllm serve m --a 1"),
        ("TP=8\nvllm serve m -tp $TP", "vllm serve m -tp 8"),
        ("TP=8\nvllm serve m -tp=${TP}", "vllm serve m -tp=8"),
        ('M="o/m"; vllm serve "$M" --served-model-name "$M-x"', "vllm serve o/m --served-model-name o/m-x"),
        ("vllm serve m --max-model-len ${LEN:-4096}", "vllm serve m --max-model-len 4096"),
        ("A=(--a 1 --b)\nA+=(--c)\nvllm serve m ${A[@]}", "vllm serve m --a 1 --b --c"),
        ('EXTRA="--a 1"\nEXTRA="$EXTRA --b 2"\nvllm serve m $EXTRA', "vllm serve m --a 1 --b 2"),
        ('X="--a 1"\nX+=" --b"\nvllm serve m $X', "vllm serve m --a 1 --b"),
        ("CMD='vllm serve m --a 1'\n$CMD --b", "vllm serve m --a 1 --b"),
        ("nohup vllm serve m --a 1 > log 2>&1 &", "nohup vllm serve m --a 1"),
        ("exec vllm serve m 2>&1 | tee log", "exec vllm serve m"),
        ("cd /srv && vllm serve m --a", "vllm serve m --a"),
        ("bash -c 'vllm serve m --a 1'", "vllm serve m --a 1"),
        ("tmux new -d -s x \"vllm serve m --a '1 2'\"", "vllm serve m --a '1 2'"),
        ("ssh host 'cd /x; vllm serve m'", "vllm serve m"),
        ("uv run --with vllm==0.11.0 vllm serve m", "uv run --with vllm==0.11.0 vllm serve m"),
        ("python -m vllm.entrypoints.openai.api_server -tp 2", "python -m vllm.entrypoints.openai.api_server -tp 2"),
        ("if true; then\n  vllm serve m --a\nfi", "vllm serve m --a"),
        ("serve() {\n  vllm serve m --a\n}\nserve", "vllm serve m --a"),
        ("cat > run.sh <<'EOF'\nvllm serve m --a 1\nEOF\n", "vllm serve m --a 1"),
        ("docker run -d vllm/vllm-openai:v0.11.0 --model m", "docker run -d vllm/vllm-openai:v0.11.0 --model m"),
        ("vllm serve m # a comment --a", "vllm serve m"),
        ("vllm serve org/mod\\\nel --a 1", "vllm serve org/model --a 1"),
        ("vllm serve m \\\n--a 1", "vllm serve m --a 1"),
        ("cat > run.sh <<EOF\nvllm serve m \\\\\n  --a \\$X\nEOF\n", "vllm serve m --a $X"),
        ("cat > run.sh <<'EOF'\nvllm serve m \\\n  --a 1\nEOF\n", "vllm serve m --a 1"),
        ("opentelemetry-instrument vllm serve m --a", "opentelemetry-instrument vllm serve m --a"),
        ("sudo -u vllm vllm serve m --a", "sudo -u vllm vllm serve m --a"),
        ("sudo -u vllm -E env A=1 vllm serve m", "sudo -u vllm -E env A=1 vllm serve m"),
        ("uvx --from vllm vllm serve m", "uvx --from vllm vllm serve m"),
        ("ray job submit -- vllm serve m", "ray job submit -- vllm serve m"),
        ("docker run $ARGS vllm/vllm-openai:v0.11.0 --model m", "docker run $ARGS vllm/vllm-openai:v0.11.0 --model m"),
        ("vllm serve m --a [other options]", "vllm serve m --a"),
        ("vllm serve m --a other vLLM server arguments", "vllm serve m --a"),
        (
            "IMAGE=vllm/vllm-openai:{{ tag }}\ndocker run $IMAGE --model m",
            "docker run 'vllm/vllm-openai:{{ tag }}' --model m",
        ),
        ("vllm serve m --a other", "vllm serve m --a other"),
    ],
)  # fmt: skip
def test_words(script: str, expected: str) -> None:
    assert texts(script) == shlex.split(expected)


@pytest.mark.parametrize(
    "script",
    [
        "echo vllm serve m",
        "pip install vllm",
        "vllm --version",
        "vllm bench serve --model m",
        "# vllm serve m",
        "grep vllm serve.log",
        "curl http://localhost:8000/v1/models | grep vllm",
        "docker build -t vllm-image .",
        "docker pull vllm/vllm-openai:v0.11.0",
        "pkill -f 'vllm serve'",
        "git clone https://github.com/vllm-project/vllm",
        "vllm serve --help",
        "vllm serve --help=ModelConfig",
        "vllm serve -h",
        "vllm serve m --omni --stage-configs x",
        "python -m vllm.entrypoints.cli.main bench throughput --model m",
        "docker run --name vllm-client curlimages/curl http://x",
        "docker run -v ~/vllm:/w python:3.12 python /w/x.py --model m",
        "docker run --gpus all vllm/vllm-openai:v0.11.0 bash -c 'cp /x /y'",
        "docker run --entrypoint python3 vllm/vllm-openai:v0.11.0 -m lmcache.server",
        "docker run --entrypoint sleep vllm/vllm-openai infinity",
        "docker run vllm/vllm-router:v1 vllm-router --port 1",
        "IMAGE=quay.io/ascend/vllm-ascend:{{ version }}-a3\ndocker run -it $IMAGE bash",
        "docker run -d vllm/vllm-openai:v0.11.0 tail -f /dev/null",
    ],
)
def test_what_starts_no_server(script: str) -> None:
    assert read_shell(Mapped.whole(script)) == []


@pytest.mark.parametrize(
    ("script", "unknown"),
    [
        ("vllm serve $MODEL", "$MODEL"),
        ("vllm serve m --port $1", "$1"),
        ("vllm serve m -tp $(nvidia-smi -L | wc -l)", "$(nvidia-smi -L | wc -l)"),
        ("vllm serve <model> --a", "<model>"),
        ("vllm serve m -tp {{ tp }}", "{{ tp }}"),
        ("if x; then TP=8; else TP=4; fi\nvllm serve m -tp $TP", "$TP"),
        ("vllm serve m --a {your model directory} --b", "{yourmodeldirectory}"),
        ("vllm serve m --kv-transfer-config {...} --b", "{...}"),
        ("vllm serve m --data-parallel-address YOUR_HEAD_IP", "YOUR_HEAD_IP"),
        ("export PORT=<SERVICE_PORT>\nvllm serve m --port $PORT", "<SERVICE_PORT>"),
        ("export RANK=<1_OR_2>\nvllm serve m --data-parallel-start-rank $RANK", "<1_OR_2>"),
        ("""vllm serve m --speculative-config '{"method": "x", ...}'""", '{"method": "x", ...}'),
        ("for TP in 1 2; do vllm serve m -tp $TP; done", "$TP"),
    ],
)
def test_what_cannot_be_known_is_said_to_be_unknown(script: str, unknown: str) -> None:
    word = next(word for word in only(script).words if not word.resolved)
    assert word.text == unknown


@pytest.mark.parametrize(
    "script",
    [
        'vllm serve m "$@"',
        "vllm serve m $*",
        "if x; then A+=(--b); fi\nvllm serve m ${A[@]}",
        'A=(--a)\nif x; then A+=(--b); fi\nvllm serve m "${A[@]}"',
    ],
)
def test_a_command_that_takes_more_from_outside_is_open_ended(script: str) -> None:
    assert only(script).open_ended


def test_environment_before_the_command_and_exported() -> None:
    command = only("export A=1\nB=2\nC=3 vllm serve m")
    assert {name: word.text for name, word in command.env.items()} == {"A": "1", "C": "3"}


def test_a_blank_behind_the_backslash_ends_the_command() -> None:
    script = "vllm serve m \\ \n  --max-model-len 4096\n"
    (note,) = only(script).notes
    assert script[note.start : note.stop] == "--max-model-len"


@pytest.mark.parametrize(
    "between", [" # why \\\n", " \\\n  # --a 1 \\\n", " \\\n\n", " \\   # TP\n", " \\\n # one\n # two\n"]
)
def test_a_comment_or_an_empty_line_ends_the_command(between: str) -> None:
    script = f"vllm serve m{between}  --max-model-len 4096\n"
    (note,) = only(script).notes
    assert script[note.start : note.stop] == "--max-model-len"


def test_what_explains_options_below_a_command_is_no_part_of_it() -> None:
    assert only("vllm serve m --a 1\n\n--a  how many\n").notes == ()
    (note,) = only("vllm serve m --a 1\n  --b 1\n").notes
    assert "`--b`" in note.text


def test_the_release_of_an_image_that_runs_a_shell() -> None:
    for words in ("vllm/vllm-openai:v0.10.2 bash -c", "--entrypoint bash vllm/vllm-openai:v0.10.2 -c"):
        command = only(f'docker run --gpus all {words} "vllm serve m --a 1"')
        assert [word.text for word in command.words] == ["vllm", "serve", "m", "--a", "1"]
        assert (command.release_hint, command.contained) == ("0.10.2", True)


def test_a_variable_that_is_unset_is_none() -> None:
    assert only("export A=1 B=2\nunset A\nvllm serve m").env.keys() == {"B"}


def test_what_the_script_itself_reads_may_be_its_own() -> None:
    command = only("export VLLM_LEN=4096 VLLM_USE_V1=1\nvllm serve m --max-model-len $VLLM_LEN")
    assert command.scripts_own == {"VLLM_LEN"}


def test_prompts_of_documentation() -> None:
    script = "$ export A=1\n(venv) user@host:~$ vllm serve m \\\n    --a 1\nINFO 08-05 started"
    (command,) = read_shell(Mapped.whole(script), prompts=True)
    assert [word.text for word in command.words] == ["vllm", "serve", "m", "--a", "1"]


WORDS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12
)


@given(st.lists(WORDS, min_size=1, max_size=6), st.sampled_from([" ", " \\\n  ", " \\\r\n\t"]))
def test_what_is_quoted_is_read_back_with_its_place(words: list[str], gap: str) -> None:
    # tree-sitter's grammar takes other characters for blanks than a shell does: quoted, they are characters like others
    quoted = ["'" + word.replace("'", "'\\''") + "'" for word in words]
    script = "vllm serve model " + gap.join(quoted) + "\n"
    command = only(script)
    assert [word.text for word in command.words] == ["vllm", "serve", "model", *words]
    assert [script[word.start : word.stop] for word in command.words[3:]] == quoted


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    for script in (text, f"vllm serve m {text}", f"{text}\nvllm serve m"):
        for command in read_shell(Mapped.whole(script), prompts=True):
            for word in command.words:
                assert 0 <= word.start <= word.stop <= len(script)


@pytest.mark.parametrize(
    "script",
    [
        "nsys profile -o x --trace cuda vllm serve m --a",
        "conda run -n vllm --no-capture-output vllm serve m --a",
        "ssh host vllm serve m --a",
        "ssh host 'cd x && vllm serve m --a'",
        "su - me -c 'vllm serve m --a'",
        "sbatch --gpus=1 --wrap='vllm serve m --a'",
        "tmux new -d -s x 'vllm serve m --a'",
        "tmux send-keys -t x 'vllm serve m --a' Enter",
        "screen -dmS x vllm serve m --a",
        "docker exec -d x vllm serve m --a",
        "kubectl exec pod -- vllm serve m --a",
        "apptainer exec --nv x.sif vllm serve m --a",
        "eval vllm serve m --a",
        "run_bg 'vllm serve m --a'",
        "$(which vllm) serve m --a",
        "vllm serve m `# why` \\\n  --a `# and`",
    ],
)
def test_what_carries_a_command(script: str) -> None:
    assert texts(script)[-4:] == ["vllm", "serve", "m", "--a"]


@pytest.mark.parametrize(
    "script",
    [
        "log 'vllm serve m'",
        "tmux kill-session -t 'vllm serve m'",
        "python3 -c \"print('vllm serve m')\"",
        "sed s/a/'vllm serve m'/ f",
        "read -p 'vllm serve m ?' x",
        "sudo grep 'vllm serve m' f",
        "docker logs 'vllm serve m'",
    ],
)
def test_what_only_speaks_of_one(script: str) -> None:
    assert read_shell(Mapped.whole(script)) == []


@pytest.mark.parametrize("test", ["[[ -n $X ]] &&", "[ -n $X ] &&", "test $X &&", "! true &&", "true ||"])
def test_what_depends_on_a_test_is_not_sure(test: str) -> None:
    assert only(f"A=(--a)\n{test} A+=(--b)\nvllm serve m ${{A[@]}}").open_ended
    assert not only("A=(--a)\ntrue && A+=(--b)\nvllm serve m ${A[@]}").open_ended


def test_an_empty_array_before_a_command_is_no_value() -> None:
    assert only("A=() vllm serve m").env["A"].text == ""
    assert only("export A=()\nvllm serve m").env["A"].text == ""


def test_a_word_from_several_places_is_never_written() -> None:
    script = "M=org/model\n# " + "x" * 200 + '\nCMD="vllm serve $M-fp8 --a a$M"\neval "$CMD"'
    command = only(script)
    assert [word.text for word in command.words] == ["vllm", "serve", "org/model-fp8", "--a", "aorg/model"]
    assert all(word.start <= word.stop for word in command.words)
    assert [word.text for word in command.words if not word.own] == ["org/model-fp8", "aorg/model"]
