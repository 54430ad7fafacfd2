"""What becomes of a command between two releases."""

from __future__ import annotations

from qcmatrix.assess import LaunchVerdict
from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.releases import load_release
from qcmatrix.lint.subject import Wishes
from qcmatrix.upgrade.changes import ChangeKind
from qcmatrix.upgrade.upgrade import CommandUpgrade, FileUpgrade, upgrade_text

FP8 = "Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8"


def upgraded(command: str, before: str, after: str, fleet: str = "8xH200") -> FileUpgrade:
    wishes = Wishes(fleets=parse_fleet(fleet))
    return upgrade_text("serve.sh", command + "\n", wishes, load_release(before), load_release(after))


def only(result: FileUpgrade) -> CommandUpgrade:
    (command,) = result.commands
    return command


def kinds(result: FileUpgrade) -> dict[str, ChangeKind]:
    return {change.about: change.kind for change in only(result).changes}


def test_a_flag_that_is_gone_is_taken_out() -> None:
    result = upgraded(f"vllm serve {FP8} -tp 8 --enable-expert-parallel --swap-space 8", "0.16.0", "0.33.0")
    assert kinds(result)["--swap-space 8.0"] is ChangeKind.GONE
    assert result.mended.after == f"vllm serve {FP8} -tp 8 --enable-expert-parallel\n"
    assert only(result).verdicts == (LaunchVerdict.STARTS, LaunchVerdict.REFUSED, LaunchVerdict.STARTS)


def test_yarn_is_asked_for_in_the_new_way() -> None:
    yarn = '\'{"rope_type":"yarn","factor":4.0,"original_max_position_embeddings":262144}\''
    command = f"vllm serve {FP8} -tp 8 --enable-expert-parallel --max-model-len 1048576 --rope-scaling {yarn}"
    result = upgraded(f"VLLM_ALLOW_LONG_MAX_MODEL_LEN=1 {command}", "0.10.0", "0.33.0")
    assert "--rope-scaling" not in result.mended.after
    assert '"rope_parameters"' in result.mended.after
    assert only(result).mended is not None
    assert only(result).mended.verdict in (LaunchVerdict.STARTS, LaunchVerdict.TIGHT)


def test_a_default_that_moved_is_told_and_a_given_one_is_not() -> None:
    result = upgraded(f"vllm serve {FP8} -tp 8 --enable-expert-parallel", "0.10.0", "0.33.0")
    assert kinds(result)["--gpu-memory-utilization"] is ChangeKind.DEFAULT_MOVED
    given = upgraded(
        f"vllm serve {FP8} -tp 8 --enable-expert-parallel --gpu-memory-utilization 0.92", "0.10.0", "0.33.0"
    )
    assert kinds(given)["--gpu-memory-utilization 0.92"] is ChangeKind.REDUNDANT


def test_a_launch_that_begins_to_work_says_so() -> None:
    result = upgraded(f"vllm serve {FP8} -tp 8", "0.28.0", "0.29.0")
    assert only(result).before.verdict is LaunchVerdict.REFUSED
    assert only(result).after.verdict is LaunchVerdict.STARTS
    assert kinds(result)["fp8-block-cut-by-tensor-parallel"] is ChangeKind.MEANING


def test_nothing_changes_between_a_release_and_itself() -> None:
    command = f"vllm serve {FP8} -tp 8 --enable-expert-parallel --max-model-len 131072"
    result = upgraded(command, "0.28.0", "0.28.0")
    assert set(kinds(result).values()) == {ChangeKind.KEPT}
    assert result.mended.after == command + "\n"


def test_memory_before_and_after() -> None:
    before, after = only(upgraded(f"vllm serve {FP8} -tp 8 --enable-expert-parallel", "0.10.0", "0.33.0")).footprints
    assert before is not None
    assert after is not None
    assert before.footprint is not None
    assert after.footprint is not None
    assert after.footprint.kv_gib.mid > before.footprint.kv_gib.mid  # 0.92 of the card instead of 0.90


def test_a_flag_that_went_and_came_back_is_the_same() -> None:
    command = f"vllm serve {FP8} -tp 8 --enable-expert-parallel --disable-log-requests"
    assert kinds(upgraded(command, "0.10.0", "0.33.0"))["--disable-log-requests"] is ChangeKind.KEPT
    assert kinds(upgraded(command, "0.10.0", "0.28.0"))["--disable-log-requests"] is ChangeKind.GONE


def test_what_was_wrong_before_is_told_and_stays() -> None:
    command = f"vllm serve {FP8} -tp 8 --enable-expert-parallel --tokenizer-pool-size 4"
    result = upgraded(command, "0.10.0", "0.33.0")
    assert kinds(result)["unknown-flag"] is ChangeKind.WRONG_BEFORE
    assert result.mended.after == f"{command}\n"
