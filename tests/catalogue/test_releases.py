"""The release files and their run-time interface, against facts read in the releases themselves."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from qcmatrix.catalogue.releases import (
    DATA,
    environment_history,
    flag_history,
    load_release,
    newest_release,
    release_dates,
    release_names,
    scheduler_defaults,
    tool_parser_history,
)
from qcmatrix.errors import CatalogueError, RequestError
from qcmatrix.versions import Range, parse_version

# -- which releases ----------------------------------------------------------------------------------------------


def test_every_release_is_there_in_order() -> None:
    names = release_names()
    assert len(names) == 39
    assert (names[0], names[-1], newest_release()) == ("0.10.0", "0.33.0", "0.33.0")
    assert list(names) == sorted(names, key=parse_version)
    assert {"0.10.1.1", "0.15.0", "0.15.1"} <= set(names)
    assert {path.stem for path in DATA.glob("*.json")} == {*names, "index"}


def test_dates_of_upload() -> None:
    # https://pypi.org/simple/vllm/ (data-upload-time), read 2026-11-22
    dates = release_dates()
    assert str(dates["0.10.0"]) == "2025-07-25"
    assert str(dates["0.15.1"]) == "2026-02-05"
    assert str(dates["0.33.0"]) == "2026-11-02"
    assert all(load_release(name).file.date == day for name, day in dates.items())


@pytest.mark.parametrize("name", release_names())
def test_surface_is_consistent(name: str) -> None:
    release = load_release(name)
    flags = release.file.flags
    assert release.is_listed
    assert len({flag.dest for flag in flags}) == len(flags)
    spelled = [spelling for flag in flags for spelling in (*flag.names, *flag.negations)]
    assert len(set(spelled)) == len(spelled)
    for flag in flags:
        assert flag.names[0].startswith("--"), flag
        assert not flag.negations or flag.type in {"bool", "optional_bool"}, flag
        if flag.choices and isinstance(flag.default, str):
            assert flag.default in {"", *flag.choices}, flag
        if flag.type in {"int", "human_int"} and flag.default is not None and flag.nargs is None:
            assert isinstance(flag.default, int), flag
    assert all(variable.startswith("VLLM_") for variable in release.file.environment)


# -- asking for a release ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "surface"),
    [
        ("0.33.0", "0.33.0", "0.33.0"),
        (" v0.33.0 ", "0.33.0", "0.33.0"),
        ("0.32.0+cpu", "0.32.0+cpu", "0.32.0"),
        ("0.25.0rc1", "0.25.0rc1", "0.25.0"),
        ("0.15.2rc1.dev93", "0.15.2rc1.dev93", "0.15.1"),
        ("0.10.1.post2", "0.10.1.post2", "0.10.1"),
        ("0.10.1.1", "0.10.1.1", "0.10.1.1"),
        ("0.34.0", "0.34.0", "0.33.0"),
    ],
)
def test_versions_that_parse(text: str, name: str, surface: str) -> None:
    release = load_release(text)
    assert (release.name, release.version, release.surface_of) == (name, parse_version(name), surface)
    assert release.is_listed == (name == surface)
    assert str(release) == name


def test_equal_by_name() -> None:
    assert load_release("v0.33.0") == load_release("0.33.0")
    assert load_release("0.32.0+cpu") != load_release("0.32.0")
    assert len({load_release("v0.33.0"), load_release("0.33.0")}) == 1


@pytest.mark.parametrize("text", ["0.9.2", "0.1.0", "0.9.2rc1"])
def test_too_old(text: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        load_release(text)
    assert "0.10.0 to 0.33.0" in " ".join(caught.value.notes)


def test_not_a_version() -> None:
    with pytest.raises(RequestError) as caught:
        load_release("0.3x.0")
    assert "0.3" in caught.value.notes[0]
    assert "did you mean" in caught.value.notes[0]
    with pytest.raises(RequestError):
        load_release("newest please")


# -- flags -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("release", "all_flags", "engine_flags"),
    [("0.10.0", 158, 122), ("0.19.0", 231, 181), ("0.33.0", 320, 254)],
)
def test_number_of_flags(release: str, all_flags: int, engine_flags: int) -> None:
    # The engine flags are the `add_argument` calls of vllm/engine/arg_utils.py. Counts of 110, 182 and 256 that are
    # seen elsewhere come from a search for double-quoted names: 0.10.0 writes twelve of its names in single quotes,
    # and the later ones count `--help` and aliases.
    flags = load_release(release).file.flags
    own = {"headless", "api_server_count", "config", "grpc"}  # declared by make_arg_parser itself
    assert len(flags) == all_flags
    assert sum(flag.group != "Frontend" and flag.dest not in own for flag in flags) == engine_flags


@pytest.mark.parametrize(
    ("flag", "ranges"),
    [
        # vllm/engine/arg_utils.py declares it up to 0.11.0; 0.11.1 and 0.11.2 do not.
        ("--rope-scaling", [Range("0.10.0", "0.11.1")]),
        ("--max-seq-len-to-capture", [Range("0.10.0", "0.11.0")]),
        # Last declared in 0.17.1; 0.18.0 does not have it.
        ("--swap-space", [Range("0.10.0", "0.18.0")]),
        # 0.10.2, vllm/engine/arg_utils.py line 744.
        ("--kv-cache-memory-bytes", [Range("0.10.2", None)]),
        ("--task", [Range("0.10.0", "0.13.0")]),
        ("-tp", [Range("0.10.0", None)]),
        ("-ep", [Range("0.14.0", None)]),
        # Gone with 0.17.0; since 0.33.0 the parser pairs every --enable-x with a --disable-x.
        ("--disable-log-requests", [Range("0.10.0", "0.17.0"), Range("0.33.0", None)]),
        ("--no-such-flag", []),
    ],
)
def test_flag_history(flag: str, ranges: list[Range]) -> None:
    assert list(flag_history(flag)) == ranges
    for name in release_names():
        assert load_release(name).has_flag(flag) == any(parse_version(name) in each for each in ranges)


def test_history_agrees_with_every_file() -> None:
    for name in release_names():
        release = load_release(name)
        for history, present in (
            (flag_history, release.flag_by_dest),
            (environment_history, release.file.environment),
            (tool_parser_history, release.file.tool_parsers),
        ):
            for each in present:
                assert any(release.version in found for found in history(each)), (name, each)


def test_spellings() -> None:
    release = load_release("0.33.0")
    assert release.flag_by_name["-tp"] is release.flag_by_dest["tensor_parallel_size"]
    assert release.flag_by_name["--device-memory-utilization"].dest == "gpu_memory_utilization"
    assert release.flag_by_negation["--no-enable-expert-parallel"].dest == "enable_expert_parallel"
    assert release.flag_by_negation["--disable-expert-parallel"].dest == "enable_expert_parallel"
    assert "--disable-expert-parallel" not in load_release("0.32.0").flag_by_negation
    assert release.has_flag("--max_model_len")
    assert release.has_flag("max_model_len")
    assert not release.has_flag("max-model-len")
    assert release.flag_by_name["-O"].dest == "optimization_level"
    assert load_release("0.11.2").flag_by_name["-O"].dest == "compilation_config"


def test_types() -> None:
    old, new = load_release("0.10.0"), load_release("0.33.0")
    assert old.flag_by_dest["max_model_len"].type == "human_int"
    assert not old.flag_by_dest["max_model_len"].accepts_auto
    # From 0.14.0 `--max-model-len` reads -1 and auto (human_readable_int_or_auto).
    assert not load_release("0.13.0").flag_by_dest["max_model_len"].accepts_auto
    assert load_release("0.14.0").flag_by_dest["max_model_len"].accepts_auto
    assert {f.dest for f in new.file.flags if f.type == "human_int"} == {
        "kv_cache_memory_bytes",
        "max_model_len",
        "max_num_batched_tokens",
        "max_num_queued_tokens",
        "max_num_scheduled_tokens",
        "safetensors_prefetch_block_size",
    }
    overrides = new.flag_by_dest["hf_overrides"]
    assert (overrides.type, overrides.text_allowed) == ("json", True)
    assert new.flag_by_dest["enable_prefix_caching"].type == "optional_bool"
    assert new.flag_by_dest["disable_log_stats"].type == "bool"
    assert new.flag_by_dest["served_model_name"].nargs == "+"
    assert new.flag_by_dest["middleware"].repeatable
    assert new.flag_by_dest["hf_token"].nargs == "?"
    assert new.flag_by_dest["max_lora_rank"].choices[:3] == ("1", "8", "16")


def test_choices() -> None:
    old, new = load_release("0.10.0"), load_release("0.33.0")
    assert "fp8" in old.flag_by_dest["kv_cache_dtype"].choices
    assert "fp8_e4m3" in new.flag_by_dest["kv_cache_dtype"].known
    # 0.10.0 refuses an unknown parser while parsing; later ones look it up afterwards, plugins included.
    assert "qwen3_coder" in old.flag_by_dest["tool_call_parser"].choices
    assert new.flag_by_dest["tool_call_parser"].choices == ()
    assert "qwen3_coder" in new.flag_by_dest["tool_call_parser"].known
    assert "fp8" in new.flag_by_dest["quantization"].known
    assert "FLASH_ATTN" in new.flag_by_dest["attention_backend"].known


def test_deprecated() -> None:
    assert load_release("0.12.0").flag_by_dest["task"].deprecated
    assert load_release("0.33.0").flag_by_dest["disable_cascade_attn"].deprecated
    assert not load_release("0.33.0").flag_by_dest["allow_deprecated_quantization"].deprecated


def test_utilization_default() -> None:
    # vllm/config/cache.py: 0.9 up to 0.19.1, 0.92 from 0.20.0.
    for name in release_names():
        stated = 0.9 if parse_version(name) < parse_version("0.20.0") else 0.92
        release = load_release(name)
        assert release.file.gpu_memory_utilization == release.default("gpu_memory_utilization") == stated


def test_cudagraph_memory_comes_out_of_the_budget() -> None:
    # vllm/envs.py: VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS is "0" from 0.18.0 and "1" from 0.20.0.
    switch = "VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS"
    assert environment_history(switch) == (Range("0.18.0", None),)
    assert load_release("0.19.1").file.environment[switch] == "0"
    for name in release_names():
        assert load_release(name).file.cudagraph_estimated == (parse_version(name) >= parse_version("0.20.0"))


# -- variables and parsers ---------------------------------------------------------------------------------------


def test_environment() -> None:
    assert environment_history("VLLM_MAX_STOP_STRINGS") == (Range("0.28.0", None),)
    assert load_release("0.28.0").file.environment["VLLM_MAX_STOP_STRINGS"] == "4"
    assert load_release("0.10.2").file.environment["VLLM_USE_DEEP_GEMM"] == "0"
    assert load_release("0.11.0").file.environment["VLLM_USE_DEEP_GEMM"] == "1"
    assert load_release("0.33.0").file.environment["VLLM_ALLOW_LONG_MAX_MODEL_LEN"] == "0"
    assert environment_history("VLLM_USE_V1") == (Range("0.10.0", "0.11.1"),)
    assert environment_history("VLLM_NO_SUCH_THING") == ()


def test_tool_parsers() -> None:
    assert tool_parser_history("qwen3_coder") == (Range("0.10.0", None),)
    assert tool_parser_history("qwen3_xml") == (Range("0.11.0", None),)
    for name in release_names():
        parsers = load_release(name).file.tool_parsers
        same = parsers.get("qwen3_xml") == parsers["qwen3_coder"]
        assert same == (parse_version(name) >= parse_version("0.24.0")), name
    assert "qwen3" in load_release("0.33.0").file.reasoning_parsers


# -- defaults by GPU ---------------------------------------------------------------------------------------------

H100 = {"visible_gib": 79.18, "device_name": "NVIDIA H100 80GB HBM3", "compute_capability": (9, 0)}
A100 = {"visible_gib": 79.25, "device_name": "NVIDIA A100-SXM4-80GB", "compute_capability": (8, 0)}
H200 = {"visible_gib": 139.8, "device_name": "NVIDIA H200", "compute_capability": (9, 0)}
B200 = {"visible_gib": 178.4, "device_name": "NVIDIA B200", "compute_capability": (10, 0)}
L40S = {"visible_gib": 44.42, "device_name": "NVIDIA L40S", "compute_capability": (8, 9)}
GB10 = {"visible_gib": 119.7, "device_name": "NVIDIA GB10", "compute_capability": (12, 1)}


@pytest.mark.parametrize(
    ("release", "gpu", "defaults"),
    [
        # 0.10.0 arg_utils.py line 1584: `device_memory >= 70 * GiB_bytes and "a100" not in device_name`
        ("0.10.0", H100, (8192, 1024)),
        ("0.10.0", A100, (2048, 256)),
        ("0.10.0", L40S, (2048, 256)),
        ("0.27.1", B200, (8192, 1024)),
        # 0.28.0 line 2582: `device_memory >= 160 * GiB_bytes`
        ("0.28.0", B200, (16384, 1024)),
        ("0.28.0", H200, (8192, 1024)),
        ("0.33.0", H200, (8192, 1024)),
        ("0.33.0", A100, (2048, 256)),
        # 0.33.0: `and not is_gb10`, which is compute capability (12, 1)
        ("0.32.0", GB10, (8192, 1024)),
        ("0.33.0", GB10, (2048, 256)),
    ],
)
def test_defaults_by_gpu(release: str, gpu: dict[str, object], defaults: tuple[int, int]) -> None:
    assert scheduler_defaults(load_release(release), **gpu) == defaults


def test_sequences_are_cut_to_tokens() -> None:
    # From 0.10.1: the default number of sequences is min(default, max_num_batched_tokens). 0.10.0 has no such cut:
    # SchedulerConfig then refuses (tokens "must be greater than or equal to max_num_seqs").
    assert scheduler_defaults(load_release("0.10.0"), **H100, max_num_batched_tokens=512) == (512, 1024)
    assert scheduler_defaults(load_release("0.10.1"), **H100, max_num_batched_tokens=512) == (512, 512)
    assert scheduler_defaults(load_release("0.33.0"), **H100, max_num_batched_tokens=512) == (512, 512)
    # A given number of sequences is kept.
    assert scheduler_defaults(load_release("0.33.0"), **H100, max_num_batched_tokens=512, max_num_seqs=600) == (
        512,
        600,
    )


def test_tokens_are_cut_to_all_sequences() -> None:
    # From 0.11.1: min(max_num_seqs * max_model_len, max_num_batched_tokens), only when tokens are not given.
    small = {"max_model_len": 1000, "max_num_seqs": 2}
    assert scheduler_defaults(load_release("0.11.0"), **H100, **small) == (8192, 2)
    assert scheduler_defaults(load_release("0.11.1"), **H100, **small) == (2000, 2)
    assert scheduler_defaults(load_release("0.11.1"), **H100, **small, max_num_batched_tokens=4096) == (4096, 2)


def test_without_chunked_prefill() -> None:
    # Up to 0.11.0 the V1 engine sets enable_chunked_prefill = True for generating models whatever was asked; from
    # 0.11.1 tokens are max(max_model_len, default).
    off = {"max_model_len": 32768, "enable_chunked_prefill": False}
    assert scheduler_defaults(load_release("0.11.0"), **H100, **off) == (8192, 1024)
    assert scheduler_defaults(load_release("0.11.1"), **H100, **off) == (32768, 1024)
    short = {"max_model_len": 4096, "enable_chunked_prefill": False}
    assert scheduler_defaults(load_release("0.33.0"), **H100, **short) == (8192, 1024)


def test_throughput_mode() -> None:
    # From 0.17.0: `if self.performance_mode == "throughput"` doubles what is not given.
    assert scheduler_defaults(load_release("0.16.0"), **H100, performance_mode="throughput") == (8192, 1024)
    assert scheduler_defaults(load_release("0.17.0"), **H100, performance_mode="throughput") == (16384, 2048)
    assert scheduler_defaults(
        load_release("0.17.0"),
        **H100,
        performance_mode="throughput",
        max_num_seqs=64,
    ) == (16384, 64)


def test_batched_data_parallel() -> None:
    # From 0.20.0: ParallelConfig.use_batched_dp_moe picks DEFAULT_MAX_NUM_BATCHED_TOKENS_FOR_BATCHED_DP.
    how = {"enable_expert_parallel": True, "data_parallel_size": 8, "all2all_backend": "deepep_low_latency"}
    assert scheduler_defaults(load_release("0.19.1"), **H200, **how) == (8192, 1024)
    assert scheduler_defaults(load_release("0.20.0"), **H200, **how) == (256, 256)
    other = {**how, "all2all_backend": "allgather_reducescatter"}
    assert scheduler_defaults(load_release("0.20.0"), **H200, **other) == (8192, 1024)


# -- the package -------------------------------------------------------------------------------------------------


def test_reading_a_release_is_quick_and_light() -> None:
    code = (
        "import sys, time, msgspec, packaging.version\n"
        "from qcmatrix.catalogue.releases import load_release, newest_release\n"
        "start = time.perf_counter(); load_release(newest_release()).flag_by_name; took = time.perf_counter() - start\n"
        "heavy = {'torch', 'vllm', 'transformers', 'click', 'rich', 'jsonschema', 'urllib.request', 'difflib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "print(took)\n"
    )
    runs = [
        float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
        for _ in range(5)  # the machine may be busy: the quickest counts
    ]
    assert min(runs) < 0.008, runs


def test_unknown_keys_are_refused() -> None:
    data = msgspec.json.decode((DATA / "0.33.0.json").read_bytes())
    data["surprise"] = 1
    with pytest.raises(msgspec.ValidationError, match="surprise"):
        msgspec.convert(data, type(load_release("0.33.0").file))
