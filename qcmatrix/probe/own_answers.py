"""What a vLLM of one's own says of a launch: its own code, asked without a GPU."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qcmatrix.answers.schema import AskedAnswer
from qcmatrix.assess import Assessment
from qcmatrix.catalogue.fleets import Fleet
from qcmatrix.catalogue.models import ResolvedCheckpoint
from qcmatrix.launch.parse import parse
from qcmatrix.launch.secrets import redact, redact_argv
from qcmatrix.probe.agree import Grade, Ours, agreement, question_for
from qcmatrix.probe.configs import config_json
from qcmatrix.probe.own import OwnVllm
from qcmatrix.rules.declare import Level

__all__ = ["ask_own"]

_SECONDS = 180.0
_NO_MEMORY = "whether it fits into the GPU's memory: that is our figure"
_GUESSED = "the card's compute capability is not known: 9.0 was pretended"


def ask_own(
    own: OwnVllm,
    words: Sequence[str],
    assessment: Assessment,
    checkpoint: ResolvedCheckpoint,
    fleet: Fleet,
    env: Mapping[str, str] | None = None,
) -> AskedAnswer:
    """What ``own`` does with the command ``words``, against what we say of it (``assessment``).

    Keys and tokens are masked before anything is asked: they decide nothing, and nothing of them is kept.

    Raises:
        SessionError: the worker cannot be started any more.
    """
    gpu = fleet.gpu
    if gpu.vendor == "amd":
        return _not_asked(own, "the worker can pretend to have an NVIDIA GPU, not this one")
    masked = redact(parse(words, own.release, env=env).launch).env
    question = question_for(redact_argv(words), checkpoint, fleet, own.release, env=env)
    question["env"] = dict(masked)
    config = _config(checkpoint)
    kept = own.remembered({**question, "of": config})
    if kept is None:
        own.session.configs({question["config"]: config})
        reply = own.session.ask("launch", timeout=_SECONDS, **question)
        kept = {
            "date": datetime.date.today().isoformat(),
            "answer": reply.answer,
            "not_askable": reply.not_askable,
            "error": f"{reply.error.type}: {reply.error.text}" if reply.error else None,
        }
        if reply.error is None:  # a crash or a time-out may have been the machine's doing
            own.remember({**question, "of": config}, kept)
    return _told(own, kept, assessment, _GUESSED if gpu.compute_capability is None else None)


def _told(own: OwnVllm, kept: Mapping[str, Any], assessment: Assessment, guess: str | None) -> AskedAnswer:
    answer = kept["answer"]
    # What the memory ledger says cannot be asked without a GPU: only the rest is compared.
    mine = Ours(assessment.deployment, tuple(found for found in assessment.findings if not found.rule.needs_footprint))
    found = agreement(mine, answer, error=kept["error"], not_askable=kept["not_askable"])
    if found.refused is None:
        return _not_asked(own, found.why, found.stage)
    refuses = found.refused
    text = found.error if refuses else found.why if found.grade is Grade.DISAGREE else ""
    return AskedAnswer(
        says="refuses" if refuses else "accepts",
        level=Level.PROBED.value,
        release=own.release.name,
        date=datetime.date.fromisoformat(kept["date"]),
        stage=found.stage,
        text=text,
        resolved={} if refuses else dict(answer.get("resolved") or {}),
        not_asked=() if refuses else (*answer.get("not_asked", ()), *([guess] if guess else []), _NO_MEMORY),
        contradicts=found.grade is Grade.DISAGREE or (refuses and assessment.serves),
    )


def _not_asked(own: OwnVllm, why: str, stage: str = "") -> AskedAnswer:
    return AskedAnswer(
        says="not-askable",
        level=Level.DERIVED.value,
        release=own.release.name,
        date=datetime.date.today(),
        stage=stage,
        text=why,
        resolved={},
        not_asked=(),
        contradicts=False,
    )


def _config(checkpoint: ResolvedCheckpoint) -> dict[str, Any]:
    """The user's own ``config.json`` where there is one, else the one that the catalogue's facts make."""
    if checkpoint.path is None:
        return config_json(checkpoint)
    config: dict[str, Any] = json.loads(Path(checkpoint.path).read_text(encoding="utf-8"))
    separate = Path(checkpoint.path).with_name("hf_quant_config.json")
    if "quantization_config" not in config and separate.is_file():
        # vLLM takes it from the file beside; the worker has only the one.
        config["quantization_config"] = json.loads(separate.read_text(encoding="utf-8"))
    return config
