"""Fixes change the words that they are about, and nothing else."""

from __future__ import annotations

import difflib

import pytest

from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.releases import load_release
from qcmatrix.lint.mend import mend
from qcmatrix.lint.run import lint_text
from qcmatrix.lint.settings import Settings
from qcmatrix.lint.subject import Wishes

FP8 = "Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8"
COMPOSE = "services:\n  v:\n    image: vllm/vllm-openai:v0.28.0\n"


def wishes(release: str = "0.33.0", fleet: str = "8xH200") -> Wishes:
    return Wishes(fleets=parse_fleet(fleet), release=load_release(release))


def changed(path: str, text: str, release: str = "0.33.0", *, unsafe: bool = False) -> list[str]:
    """The lines that go (-) and come (+)."""
    after = mend(path, text, wishes(release), Settings(), unsafe=unsafe).after
    lines = difflib.unified_diff(text.splitlines(), after.splitlines(), lineterm="", n=0)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_removed_flag_goes_with_its_line(end: str) -> None:
    lines = [f"vllm serve {FP8} \\", "  -tp 8 \\", "  --swap-space 16 \\", "  --max-model-len 131072", ""]
    text = end.join(lines)
    after = mend("a.sh", text, wishes(), Settings()).after
    assert after == end.join([*lines[:2], *lines[3:]])


def test_a_removed_flag_at_the_end_takes_the_backslash_before_it() -> None:
    text = f"vllm serve {FP8} -tp 8 \\\n  --max-model-len 131072 \\\n  --swap-space 16\necho done\n"
    after = mend("a.sh", text, wishes(), Settings()).after
    assert after == f"vllm serve {FP8} -tp 8 \\\n  --max-model-len 131072\necho done\n"


def test_several_removed_flags_go_at_once() -> None:
    text = f"vllm serve {FP8} -tp 8 --swap-space 16 --max-model-len 131072 --max-seq-len-to-capture 8192\n"
    after = mend("a.sh", text, wishes(), Settings()).after
    assert after == f"vllm serve {FP8} -tp 8 --max-model-len 131072\n"


def test_the_rest_of_the_file_stays_byte_for_byte() -> None:
    before = "# caf\u00e9 \t \n\n\n"
    behind = "\n\n   trailing  \n\tx='\u5317\u4eac'"
    command = f"vllm serve {FP8} -tp 8 --max-model-len 131072 --swap-space 16"
    after = mend("a.sh", before + command + behind, wishes(), Settings()).after
    assert after == before + command.removesuffix(" --swap-space 16") + behind


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        (
            "a.sh",
            f"vllm serve {FP8} \\\n    --tensor-parallel-size 8\n",
            ["-    --tensor-parallel-size 8", "+    --tensor-parallel-size 8 \\", "+    --enable-expert-parallel"],
        ),
        (
            "compose.yaml",
            f"{COMPOSE}    command:\n      - --model={FP8}\n      - --tensor-parallel-size=8\n",
            ["+      - --enable-expert-parallel"],
        ),
        (
            "compose.yaml",
            f'services:\n  v:\n    image: vllm/vllm-openai:v0.28.0\n    command: ["--model", "{FP8}", "-tp", "8"]\n',
            [
                f'-    command: ["--model", "{FP8}", "-tp", "8"]',
                f'+    command: ["--model", "{FP8}", "-tp", "8", "--enable-expert-parallel"]',
            ],
        ),
        (
            "compose.yaml",
            f"services:\n  v:\n    image: vllm/vllm-openai:v0.28.0\n    command: >\n      --model {FP8}\n      -tp 8\n",
            ["+      --enable-expert-parallel"],
        ),
        (
            "Dockerfile",
            f'FROM vllm/vllm-openai:v0.28.0\nCMD ["--model", "{FP8}", "-tp", "8"]\n',
            [
                f'-CMD ["--model", "{FP8}", "-tp", "8"]',
                f'+CMD ["--model", "{FP8}", "-tp", "8", "--enable-expert-parallel"]',
            ],
        ),
        (
            "README.md",
            f"Text\n\n- item\n\n  ```bash\n  vllm serve {FP8} \\\n    -tp 8\n  ```\n",
            ["-    -tp 8", "+    -tp 8 \\", "+    --enable-expert-parallel"],
        ),
    ],
)
def test_a_flag_is_added_in_the_manner_of_its_neighbours(path: str, text: str, expected: list[str]) -> None:
    assert changed(path, text, "0.28.0", unsafe=True) == expected


def test_what_comes_from_a_variable_is_not_rewritten() -> None:
    text = f'ARGS="--swap-space 16"\nvllm serve {FP8} -tp 8 --max-model-len 131072 $ARGS\n'
    result = mend("a.sh", text, wishes(), Settings())
    assert result.after == text
    assert "cannot be written there" in result.left[0]


def test_what_changes_the_service_needs_to_be_asked_for() -> None:
    text = f"vllm serve {FP8} -tp 8\n"
    result = mend("a.sh", text, wishes("0.28.0"), Settings())
    assert result.after == text
    assert "--unsafe-fixes" in result.left[0]


@pytest.mark.parametrize("release", ["0.10.0", "0.20.0", "0.33.0"])
def test_mending_twice_is_mending_once(release: str) -> None:
    text = f"VLLM_USE_V1=0 vllm serve {FP8} -tp 8 --swap-space 16 --max-seq-len-to-capture 9 --max-model-len 131072\n"
    once = mend("a.sh", text, wishes(release), Settings(), unsafe=True)
    twice = mend("a.sh", once.after, wishes(release), Settings(), unsafe=True)
    assert twice.after == once.after
    assert not twice.done


def test_a_mended_file_has_no_new_error() -> None:
    text = f'vllm serve {FP8} -tp 8 --swap-space 16 --rope-scaling \'{{"rope_type":"yarn"}}\' --max-model-len 1048576\n'
    after = mend("a.sh", text, wishes(), Settings(), unsafe=True).after
    (judged,) = lint_text("a.sh", after, wishes(), Settings()).judged
    assert not judged.fails, [finding.because for finding in judged.findings]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--guided-decoding-backend xgrammar", '--structured-outputs-config \'{"backend":"xgrammar"}\''),
        ("--task generate", ""),
        ("--task=embed", "--runner pooling --convert embed"),
        ("--num-scheduler-steps 8 --max-model-len 16384", "--max-model-len 16384"),
        ("--enable-auto-tool-choice", "--enable-auto-tool-choice --tool-call-parser hermes"),
    ],
)
@pytest.mark.parametrize("fleet", ["", "1xH200"])
def test_what_says_the_same_today_is_a_safe_fix(options: str, expected: str, fleet: str) -> None:
    wanted = wishes(fleet=fleet) if fleet else Wishes(release=load_release("0.33.0"))
    after = mend("a.sh", f"vllm serve Qwen/Qwen3-8B {options}\n", wanted, Settings()).after
    assert after.split() == f"vllm serve Qwen/Qwen3-8B {expected}".split()


@pytest.mark.parametrize(
    "options",
    [
        "--task classify",  # what the head is made of is not known
        "--calculate-kv-scales",
        "--guided-decoding-backend $BACKEND",
        "--guided-decoding-backend xgrammar --structured-outputs-config '{\"disable_fallback\": true}'",
        '--rope-scaling \'{"rope_type":"yarn","factor":4.0}\' --hf-overrides \'{"a": 1}\' --max-model-len 131072',
        '--rope-scaling \'{"rope_type":"dynamic","factor":4.0}\' --max-model-len 131072',
        "--tool-call-parser hermes --max-num-seqs 8 --max-num-batched-tokens 4",
    ],
)
def test_what_would_lose_or_change_something_is_not(options: str) -> None:
    text = f"vllm serve Qwen/Qwen3-8B {options}\n"
    assert mend("a.sh", text, Wishes(release=load_release("0.33.0")), Settings()).after == text


def test_a_length_that_stays_is_not_written_anew() -> None:
    yarn = '{"rope_type":"yarn","factor":4.0,"original_max_position_embeddings":262144}'
    text = f"vllm serve {FP8} -tp 8 --enable-expert-parallel --max-model-len 1M --rope-scaling '{yarn}'\n"
    after = mend("a.sh", text, wishes(), Settings()).after
    assert " --max-model-len 1M --hf-overrides " in after


@pytest.mark.parametrize(
    ("words", "fixed"),
    [
        ("--tensor-paralel-size 8", "--tensor-parallel-size 8"),
        ("--tensor-paralel-size=8", "--tensor-parallel-size 8"),
        ("--enable-expert-paralel -tp 8", "-tp 8 --enable-expert-parallel"),
        ("--max-model-length 131072 -tp 8", "-tp 8 --max-model-len 131072"),
        ("-tp 8 --enable-reasoning", "-tp 8"),
        ("-tp 8 --case 1", "-tp 8"),
    ],
)
def test_an_unknown_flag_becomes_what_is_meant_with_its_value(words: str, fixed: str) -> None:
    after = mend("a.sh", f"vllm serve {FP8} {words}\n", wishes(), Settings(), unsafe=True).after
    assert after == f"vllm serve {FP8} {fixed}\n"


@pytest.mark.parametrize(
    "words", ["--tensor-paralel-size many", "-tp 8 --tensor-paralel-size 8", "--max-model-length $N"]
)
def test_an_unknown_flag_whose_value_does_not_fit_is_not_rewritten(words: str) -> None:
    after = mend("a.sh", f"vllm serve {FP8} {words}\n", wishes(), Settings(), unsafe=True).after
    assert after.startswith(f"vllm serve {FP8} {words}")


def test_a_variable_of_the_script_s_own_is_none_of_vllm_s() -> None:
    command = f"vllm serve {FP8} -tp 8 --enable-expert-parallel"
    own = f"export VLLM_MAX_LEN=50000\n{command} --max-model-len $VLLM_MAX_LEN\n"
    (judged,) = lint_text("a.sh", own, wishes(), Settings()).judged
    assert "environment-variable-without-effect" not in {finding.rule for finding in judged.findings}
    (judged,) = lint_text("a.sh", f"export VLLM_MAX_LEN=50000\n{command}\n", wishes(), Settings()).judged
    assert "environment-variable-without-effect" in {finding.rule for finding in judged.findings}
    read = f"export VLLM_USE_V1=0\necho $VLLM_USE_V1\n{command}\n"
    (judged,) = lint_text("a.sh", read, wishes(), Settings()).judged
    assert "environment-variable-without-effect" in {finding.rule for finding in judged.findings}, "vLLM's, though gone"


def test_a_misspelt_variable_keeps_a_value_that_the_shell_fills_in() -> None:
    text = f'export VLLM_USE_FLASHINFER_SAMPLR="$SAMPLER"\nvllm serve {FP8} -tp 8 --enable-expert-parallel\n'
    assert mend("a.sh", text, wishes(), Settings(), unsafe=True).after == text
