"""The overhead: against packaged public logs, and laws of the profile run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcmatrix.catalogue.gpus import Gpu, find_gpus
from qcmatrix.catalogue.models import Quantization
from qcmatrix.catalogue.names import ResolvedCheckpoint, find_checkpoint
from qcmatrix.catalogue.releases import release_names
from qcmatrix.memory.calibration import NON_TORCH, group_of, startup_gib
from qcmatrix.memory.fit import Miss, activation_misses, budget_misses, group_medians, load_cases
from qcmatrix.memory.overhead import Overhead, overhead
from qcmatrix.memory.profile_run import graphs_captured, peak, second_runner_is_default, traits
from qcmatrix.versions import parse_version

RELEASES = st.sampled_from(release_names())
MODELS = st.sampled_from(("480b-fp8", "30b", "30b-fp8", "next-fp8", "Qwen/Qwen3-8B"))


def card(name: str) -> Gpu:
    return find_gpus(name)[0]


def of(model: ResolvedCheckpoint, gpu: str, release: str, **settings: object) -> Overhead:
    given_settings: dict[str, object] = {"max_num_batched_tokens": 8192, "max_num_seqs": 1024, **settings}
    return overhead(
        model.architecture,
        model.checkpoint.quantization,
        card(gpu),
        parse_version(release),
        **given_settings,  # type: ignore[arg-type]
    )


def gib(term: str, result: Overhead) -> float:
    return next(each for each in result.terms if each.name == term).gib.mid


class TestPackagedLogs:
    def test_every_case_has_a_public_url_and_a_listed_card(self) -> None:
        for case in load_cases():
            assert case.url.startswith("https://"), case.id
            assert len(find_gpus(case.gpu)) == 1, case.id
            parse_version(case.release)
        assert len({case.id for case in load_cases()}) == len(load_cases())

    def test_stated_medians_are_those_of_the_logs(self) -> None:
        medians = group_medians()
        for key, group in NON_TORCH.items():
            if group.logs == 0:
                assert key not in medians
                continue
            middle, count = medians[key]
            assert count == group.logs, key
            assert middle == pytest.approx(group.mid, abs=0.011), key
            assert group.low <= middle <= group.high

    @pytest.mark.parametrize("miss", activation_misses(), ids=lambda miss: miss.case.id)
    def test_computed_activations(self, miss: Miss) -> None:
        """Nothing is fitted in them: within 1% where the sampler decides, 10% where the forward pass does."""
        assert miss.inside
        assert abs(miss.error) <= max(0.011, 0.1 * miss.measured)

    @pytest.mark.parametrize("miss", budget_misses(), ids=lambda miss: miss.case.id)
    def test_each_log_is_inside_its_interval_when_left_out(self, miss: Miss) -> None:
        assert miss.inside

    def test_left_out_errors(self) -> None:
        """Share of the KV cache that a log's prediction without that log misses; unified memory is another matter."""
        shares = sorted(
            abs(miss.error) / miss.case.kv_gib
            for miss in budget_misses()
            if miss.case.kv_gib is not None and miss.case.kv_gib > 0 and miss.group != "unified"
        )
        assert shares[len(shares) // 2] <= 0.002
        assert shares[int(0.9 * len(shares))] <= 0.01


class TestSampler:
    """The warm-up of the sampler: what it costs moved three times."""

    def test_sort_up_to_0_16(self) -> None:
        model = find_checkpoint("Qwen/Qwen3-14B")
        assert gib("activations", of(model, "H100-80", "0.16.0")) == pytest.approx(5.64, abs=0.02)
        assert gib("activations", of(model, "H100-80", "0.17.0")) == pytest.approx(2.23, abs=0.02)

    def test_few_sequences_cost_little(self) -> None:
        model = find_checkpoint("30b-fp8")
        many, few = (of(model, "H100-80", "0.10.0", max_num_seqs=n) for n in (1024, 16))
        assert gib("activations", many) > 5
        assert gib("activations", few) < 1

    def test_flashinfer_sampler_needs_no_sort(self) -> None:
        model = find_checkpoint("Qwen/Qwen3-14B")
        assert gib("activations", of(model, "H100-80", "0.11.0", flashinfer_sampler=True)) < 2.3

    def test_second_runner(self) -> None:
        dense, sparse = find_checkpoint("Qwen/Qwen3-8B").architecture, find_checkpoint("480b").architecture
        plain = Quantization()
        by_default = {
            release: (
                second_runner_is_default(parse_version(release), dense, plain),
                second_runner_is_default(parse_version(release), sparse, plain),
            )
            for release in ("0.21.0", "0.22.0", "0.25.0", "0.28.0", "0.29.0rc1", "0.29.0")
        }
        assert by_default == {
            "0.21.0": (False, False),
            "0.22.0": (True, False),
            "0.25.0": (True, False),
            "0.28.0": (True, False),
            "0.29.0rc1": (True, False),
            "0.29.0": (True, True),
        }


class TestCompiling:
    """From 0.11.1 a start with an empty compile cache times kernels on a copy of the embedding table."""

    def test_a_first_start_and_a_restart(self) -> None:
        # https://github.com/alexostapiuk11/coldstart-recon-worker, fixtures/README.md: 1.18 GiB cold, 0.19 warm; both
        # without what the V2 runner keeps per request
        model = find_checkpoint("Qwen/Qwen3-8B")
        result = of(model, "RTX4090", "0.27.1", max_num_batched_tokens=2048, max_num_seqs=256)
        activations = next(term.gib for term in result.terms if term.name == "activations")
        kept = 256 * 151936 * 4 / (1 << 30)
        assert activations.mid - kept == pytest.approx(1.18, abs=0.03)
        assert activations.low - kept <= 0.19
        assert activations.high - kept >= 2 * 1.16

    @pytest.mark.parametrize(
        ("release", "settings", "compiled"),
        [
            ("0.11.0", {}, False),
            ("0.11.1", {}, True),
            ("0.24.0", {"cuda_graphs": False}, False),
            ("0.24.0", {"pipeline_parallel_size": 2, "first_stage": True, "last_stage": False}, True),
            ("0.24.0", {"pipeline_parallel_size": 2, "first_stage": False, "last_stage": False}, False),
        ],
    )
    def test_where(self, release: str, settings: dict[str, Any], compiled: bool) -> None:
        few = {"max_num_batched_tokens": 512, "max_num_seqs": 8}
        result = of(find_checkpoint("Qwen/Qwen3-8B"), "L40S", release, **few, **settings)
        table = 151936 * 4096 * 2 / (1 << 30)
        assert (gib("activations", result) > table) is compiled

    def test_ranks_share_the_table(self) -> None:
        few = {"max_num_batched_tokens": 512, "max_num_seqs": 8}
        model = find_checkpoint("Qwen/Qwen3-8B")
        one, two = (gib("activations", of(model, "L40S", "0.24.0", **few, tensor_parallel_size=n)) for n in (1, 2))
        assert one - two == pytest.approx(151936 * 4096 / (1 << 30), abs=0.02)

    def test_qwen2_5_has_two_from_0_27(self) -> None:
        # https://github.com/youwins-lab/Blog, 2026-08-22: 1.76 GiB less KV cache than with --enforce-eager
        model = find_checkpoint("Qwen/Qwen2.5-7B-Instruct")
        few = {"max_num_batched_tokens": 2048, "max_num_seqs": 256}
        graphs, eager = (
            gib("activations", of(model, "L4", "0.27.1", **few, cuda_graphs=graphs)) for graphs in (True, False)
        )
        assert graphs - eager == pytest.approx(1.76, abs=0.05)
        assert gib("activations", of(model, "L4", "0.26.0", **few)) < graphs - 0.9


class TestCommunicators:
    def test_what_counts_against_the_budget_by_release_and_card(self) -> None:
        def group(release: str, gpu: str, **ranks: int) -> str:
            settings = {"tensor_parallel_size": 1, "pipeline_parallel_size": 1, "data_parallel_size": 1, **ranks}
            return group_of(parse_version(release), card(gpu), cuda_graphs=True, **settings)

        assert group("0.10.2", "H200", tensor_parallel_size=8) == "nvlink-nccl-in-budget"
        assert group("0.10.2", "H200", data_parallel_size=2) == "nvlink-nccl-in-budget-2"
        assert group("0.11.0", "H200", tensor_parallel_size=8) == "nvlink"
        assert group("0.17.0", "H200", tensor_parallel_size=8) == "nvlink-fused"
        assert group("0.17.0", "H200", tensor_parallel_size=4, pipeline_parallel_size=2) == "nvlink"
        assert group("0.17.0", "H200", data_parallel_size=8) == "nvlink"
        assert group("0.17.0", "A100-80", tensor_parallel_size=8) == "nvlink-ampere"
        assert group("0.33.0", "RTXPRO6000", tensor_parallel_size=4) == "pcie"
        assert group("0.19.0", "GB10") == "unified"
        assert group("0.33.0", "GB10") == "unified-counts-everything"
        assert group("0.17.0", "L40S") == "one-gpu"
        assert group("0.18.0", "L40S") == "one-gpu-graphs-profiled"
        assert group("0.27.0", "L40S") == "one-gpu"
        assert group("0.19.0", "H100-80", pipeline_parallel_size=2) == "pipeline"

    def test_nccl_is_there_before_the_first_reading_from_0_11(self) -> None:
        old, new = (startup_gib(parse_version(v), card("H100-80"), ranks=2) for v in ("0.10.2", "0.11.0"))
        assert new.mid > old.mid


class TestGraphs:
    def test_in_the_budget_from_0_20(self) -> None:
        model = find_checkpoint("30b-fp8")
        for release, counted in (("0.19.1", False), ("0.20.0rc1", False), ("0.20.0", True), ("0.33.0", True)):
            term = of(model, "H100-80", release).terms[-1]
            assert (term.name, term.in_budget) == ("cuda graphs", counted)

    def test_the_variable_switches_it(self) -> None:
        model = find_checkpoint("30b-fp8")
        assert not of(model, "H100-80", "0.33.0", graphs_estimated=False).terms[-1].in_budget
        assert of(model, "H100-80", "0.19.0", graphs_estimated=True).terms[-1].in_budget
        assert not of(model, "H100-80", "0.17.0", graphs_estimated=True).terms[-1].in_budget

    def test_none_without_graphs(self) -> None:
        assert [term.name for term in of(find_checkpoint("30b"), "L40S", "0.33.0", cuda_graphs=False).terms] == [
            "activations",
            "non-torch",
        ]

    def test_the_second_runner_counts_them_from_0_29(self) -> None:
        model = find_checkpoint("Qwen/Qwen3-14B")
        for release, counted in (("0.22.0", False), ("0.28.0", False), ("0.29.0", True)):
            assert of(model, "L40S", release).terms[-1].in_budget is counted
        assert of(model, "L40S", "0.28.0", second_runner=False).terms[-1].in_budget
        assert not of(model, "L40S", "0.29.0", graphs_estimated=False).terms[-1].in_budget

    def test_what_the_second_runner_counts(self) -> None:
        # https://github.com/samilazrak/vllm-optimization-lab, results/raw/{base,awq,tuned}.startup.log
        model = find_checkpoint("Qwen/Qwen3-14B-AWQ")
        base = of(model, "L40S", "0.29.0", max_num_seqs=256, max_num_batched_tokens=2048)
        tuned = of(model, "L40S", "0.29.0", max_num_seqs=512, max_num_batched_tokens=8192)
        assert gib("cuda graphs", base) == pytest.approx(0.525, abs=0.03)
        assert gib("cuda graphs", tuned) == pytest.approx(0.60, abs=0.04)

    def test_captured_sizes(self) -> None:
        # 51 sizes and, for decoding, those up to max_num_seqs: "PIECEWISE=51 (largest=512), FULL=35 (largest=256)"
        new = parse_version("0.19.0")
        assert graphs_captured(new, 256, 8192).count == 51 + 35
        assert graphs_captured(new, 1024, 8192).count == 51 + 51
        assert graphs_captured(new, 32, 2048).count == 11 + 7
        assert graphs_captured(parse_version("0.10.2"), 1024, 8192).count == 67
        assert graphs_captured(new, 256, 8192, sizes=(1, 2, 4)).count == 6
        assert graphs_captured(new, 256, 8192, largest=8).largest == 8


@given(RELEASES, MODELS, st.sampled_from((1, 2, 4, 8)), st.booleans(), st.integers(1, 16384), st.integers(1, 2048))
def test_more_tokens_or_sequences_never_cost_less(
    release: str, model: str, ranks: int, experts: bool, tokens: int, seqs: int
) -> None:
    found = find_checkpoint(model)

    def at(tokens: int, seqs: int) -> Overhead:
        return of(
            found,
            "H200",
            release,
            max_num_batched_tokens=tokens,
            max_num_seqs=seqs,
            tensor_parallel_size=ranks,
            enable_expert_parallel=experts,
        )

    here, wider, deeper = at(tokens, seqs), at(tokens + 512, seqs), at(tokens, seqs + 32)
    for other in (wider, deeper):
        assert here.in_budget.low <= other.in_budget.low + 1e-9
        assert here.in_budget.mid <= other.in_budget.mid + 1e-9
        assert here.in_budget.high <= other.in_budget.high + 1e-9


@given(RELEASES, MODELS)
def test_terms_add_up(release: str, model: str) -> None:
    result = of(find_checkpoint(model), "H200", release, tensor_parallel_size=2)
    inside = [term.gib.mid for term in result.terms if term.in_budget]
    outside = [term.gib.mid for term in result.terms if not term.in_budget]
    assert result.in_budget.mid == pytest.approx(sum(inside))
    assert result.outside.mid == pytest.approx(sum(outside))
    assert all(term.basis for term in result.terms)


def test_a_stage_without_the_sampler_needs_less() -> None:
    model = find_checkpoint("480b-fp8")
    first, last = (
        of(model, "H200", "0.16.0", tensor_parallel_size=2, pipeline_parallel_size=2, last_stage=last)
        for last in (False, True)
    )
    assert first.in_budget.mid < last.in_budget.mid - 3


def test_expert_scratch_space_is_kept_from_0_13() -> None:
    assert not traits(parse_version("0.12.0")).workspace_manager
    assert traits(parse_version("0.13.0")).workspace_manager
    model = find_checkpoint("30b")
    profile = peak(
        model.architecture,
        model.checkpoint.quantization,
        parse_version("0.19.0"),
        max_num_batched_tokens=8192,
        max_num_seqs=1024,
        tensor_parallel_size=1,
        data_parallel_size=1,
        enable_expert_parallel=False,
        pipeline_parallel_size=1,
        first_stage=True,
        last_stage=True,
        compiled=True,
        large_cublas=True,
        deep_gemm=True,
        multiprocessors=132,
    )
    assert profile.workspace == 8192 * 8 * (2048 + 2048) * 2
