"""Rule: words-that-cannot-be-read."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.launch.parsed import ProblemKind
from qcmatrix.rules.declare import Breach, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range

# Told by rules of their own: flags that the release does not have, and what is no refusal.
_ELSEWHERE = frozenset({ProblemKind.UNKNOWN_FLAG, ProblemKind.UNEXPANDED, ProblemKind.CONFIG_FILE})


@rule(
    holds=Range("0.10.0", None),
    reads=("problems",),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/utils/argparse_utils.py",
            "argument --seed: invalid int value: 'x'",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.28.0/vllm/utils/argparse_utils.py",
            "argument --kv-cache-dtype: invalid choice: 'int8' (choose from",
            Level.PROBED,
        ),
        RuleSource(
            "https://docs.python.org/3/library/argparse.html",
            "the parser will issue error messages when users give the program invalid arguments",
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/utils/argparse_utils.py",
            "class FlexibleArgumentParser(ArgumentParser)",
        ),
    ),
)
def words_that_cannot_be_read(deployment: Deployment) -> Verdict:
    """The argument parser cannot read the command's words

    What it finds
    A value that is no number where one is wanted, a choice that does not exist, an option without its value, an
    abbreviation that stands for several options, a word that belongs to no option.

    Why it fails
    vLLM's argument parser stops with its usage before anything is loaded.

    What to do
    Correct the words; the message names what was expected.

    Not covered
    Values that the parser takes and the configuration refuses later: those have rules of their own. Keys inside JSON
    values.
    """
    refused = [problem for problem in deployment.problems if problem.refused and problem.kind not in _ELSEWHERE]
    if not refused:
        return None
    near = "; ".join(f"close: {', '.join(problem.closest)}" for problem in refused if problem.closest)
    text = "; ".join(problem.text for problem in refused)
    about = tuple(word for problem in refused for word in problem.words[:1])
    # The list of choices stands in the order of the release's source, not in ours.
    error = refused[0].text.partition(" (choose from")[0]
    return Breach(because=f"{text} ({near})" if near else text, about=about, error=error)
