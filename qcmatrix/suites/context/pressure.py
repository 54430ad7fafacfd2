"""LC-09 and LC-11: long prompts beside short ones, and more than the KV cache holds."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

import msgspec

from qcmatrix.exchange.chat import Completion
from qcmatrix.matrix.entries import Budget
from qcmatrix.suites.bench import Bench
from qcmatrix.suites.boot.asked import asked_by
from qcmatrix.suites.context.boundaries import cache_config
from qcmatrix.suites.context.fitting import fresh, length_of, patience, salt, some_ids
from qcmatrix.suites.declare import ONCE, Need, NotApplicable, Tier, check

__all__ = ["Filling", "filling", "quantile"]

_PROFILES = ("long-256k", "long-1m")
_BENCH = "https://docs.vllm.ai/en/v0.33.0/benchmarking/cli/"
_CHUNKED = "https://docs.vllm.ai/en/v0.33.0/configuration/optimization/"
_MIX = "LC-09"
_LONGEST = 200_000
_SHORT, _STREAMS, _OUTPUT = 64, 8, 64
_BEFORE_LONG = 0.3
"""Seconds that the short streams have for themselves."""
_LEAST_PROMPT = 64
_EACH = 1_000
"""Tokens of one prompt that fills the cache, where so many sequences may run."""
_USUAL_SEQUENCES = 256
_MOST_WITHOUT_GPU = 100_000
"""Tokens of KV cache that a CPU fills in a time that somebody waits."""


class Filling(msgspec.Struct, frozen=True):
    """What fills a KV cache."""

    requests: int
    prompt: int
    """Tokens of each."""
    output: int


@check(
    _MIX,
    suite="context",
    profiles=_PROFILES,
    tier=Tier.PERFORMANCE,
    core=False,
    modes=ONCE,
    needs=(Need.ALONE,),
    tokens=4_096,
    sources=(_BENCH, _CHUNKED),
)
def mixed(bench: Bench) -> None:
    """Short streams go on while a long prompt is computed.

    Eight streams of 64 tokens in and 64 out, by themselves and again with a prompt of 200k tokens (or as many as the
    context holds) that comes just behind them. All must end whole. Recorded: the 99th percentile of the gaps between
    streamed pieces in both, their ratio, and the long prompt's time to its first token; where the entry has a budget
    for LC-09 on this card, the gaps must keep to it. Chunked prefill is there for this.
    """
    length = min(_LONGEST, length_of(bench) - _SHORT)
    ids = some_ids(bench, fresh(bench))
    shorts = [ids(_SHORT) for _ in range(_STREAMS)]
    alone = bench.at_once(lambda prompt: _streamed(bench, prompt, _OUTPUT, 0.0), shorts)
    jobs = [(prompt, _OUTPUT, 0.0) for prompt in shorts] + [(ids(length), 2, _BEFORE_LONG)]
    *beside, long = bench.at_once(lambda job: _streamed(bench, *job), jobs)
    before, during = (quantile(_gaps(answers), 0.99) for answers in (alone, beside))
    bench.figures |= {
        "long_tokens": length,
        "itl_p99_alone_ms": round(1e3 * before, 1),
        "itl_p99_ms": round(1e3 * during, 1),
        "ratio": round(during / before, 2) if before > 0 else None,
        "long_ttft_ms": round(1e3 * (long.first_output or 0.0), 1),
    }
    budget = _budget(bench)
    if budget is not None:
        seen = f"{1e3 * during:.1f} ms"
        bench.expect(1e3 * during <= budget.most, f"gaps of at most {budget.most:g} ms (p99)", seen)


@check(
    "LC-11",
    suite="context",
    profiles=_PROFILES,
    tier=Tier.LONG,
    modes=ONCE,
    needs=(Need.ALONE,),
    tokens=1_024,
    sources=(_CHUNKED,),
)
def preemption(bench: Bench) -> None:
    """More than the KV cache holds is finished all the same.

    So many requests at once that their prompts fill the KV cache and their answers do not fit beside them: the engine
    must preempt some and compute them again. All end with status 200 and every token that was asked for. The
    preemptions that ``/metrics`` counted are recorded. Not covered: a cache so large that no allowed number of
    sequences fills it, or that takes a CPU too long.
    """
    config = cache_config(bench)
    blocks, block = config.get("num_gpu_blocks", ""), config.get("block_size", "")
    if not (blocks.isdigit() and block.isdigit()):
        raise NotApplicable("/metrics does not tell the size of the KV cache")
    capacity = int(blocks) * int(block)
    if Need.GPU not in bench.subject.has and capacity > _MOST_WITHOUT_GPU:
        raise NotApplicable(f"filling {capacity} tokens of KV cache takes too long without a GPU")
    plan = filling(capacity, length_of(bench), _sequences(bench))
    if plan is None:
        raise NotApplicable(f"no allowed number of sequences fills {capacity} tokens of KV cache")
    ids = some_ids(bench, fresh(bench))
    before = bench.metric("vllm:num_preemptions_total") or 0.0

    def ask(prompt: list[int]) -> None:
        fields = {"max_tokens": plan.output, "ignore_eos": True, "timeout": patience(capacity), **salt()}
        answer = bench.complete(prompt, stream=False, **fields)
        bench.expect_ok(answer)
        usage = answer.usage if isinstance(answer.usage, Mapping) else {}
        seen = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
        bench.expect(seen == (plan.prompt, plan.output), f"{plan.prompt} and {plan.output} tokens", seen)

    prompts = [ids(plan.prompt) for _ in range(plan.requests)]
    bench.at_once(ask, prompts, most=plan.requests)
    after = bench.metric("vllm:num_preemptions_total") or 0.0
    bench.figures |= {
        "kv_cache_tokens": capacity,
        "requests": plan.requests,
        "prompt_tokens": plan.prompt,
        "output_tokens": plan.output,
        "preemptions": after - before,
    }


def filling(capacity: int, longest: int, sequences: int) -> Filling | None:
    """Requests whose prompts take 95 % of ``capacity`` tokens, and with their outputs 114 %.

    ``None``: so many sequences of so many tokens do not fill it, or it is too small to speak of.
    """
    requests = min(sequences, -(-capacity * 95 // (100 * _EACH)))
    if requests < 2:
        return None
    prompt = capacity * 95 // (100 * requests)
    output = prompt // 5
    return Filling(requests, prompt, output) if prompt >= _LEAST_PROMPT and prompt + output <= longest else None


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of all do not exceed; 0.0 of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def _streamed(bench: Bench, prompt: list[int], output: int, wait: float) -> Completion:
    time.sleep(wait)
    fields = {"max_tokens": output, "ignore_eos": True, "timeout": patience(len(prompt)), **salt()}
    answer = bench.complete(prompt, stream=True, stream_options={"include_usage": True}, **fields)
    bench.expect_ok(answer)
    came = answer.usage.get("completion_tokens") if isinstance(answer.usage, Mapping) else None
    bench.expect(came == output, f"{output} tokens", came)
    return answer


def _gaps(answers: Sequence[Completion]) -> list[float]:
    return [
        after - before
        for answer in answers
        for before, after in zip(answer.output_times, answer.output_times[1:], strict=False)
    ]


def _budget(bench: Bench) -> Budget | None:
    entry = bench.subject.entry
    budgets: Sequence[Budget] = entry.budgets if entry is not None else ()
    mine = (each for each in budgets if each.workload == _MIX and each.gpu == bench.subject.gpu)
    return next((each for each in mine if (each.metric, each.quantile) == ("itl_ms", "p99")), None)


def _sequences(bench: Bench) -> int:
    entry = bench.subject.entry
    given = asked_by(entry).given("max_num_seqs") if entry is not None else None
    return given if isinstance(given, int) and given > 0 else _USUAL_SEQUENCES
