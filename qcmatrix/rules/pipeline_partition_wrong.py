"""Rule: a pipeline partition that does not match the layers or the stages."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range

_VARIABLE = "VLLM_PP_LAYER_PARTITION"


@rule(
    holds=Range("0.10.0"),
    reads=("architecture", "pipeline_parallel_size", "pipeline_partition"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/distributed/utils.py",
            "len(partitions)=3 does not match pp_size=2.",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/distributed/utils.py",
            "{sum(partitions)=} does not match {num_hidden_layers=}.",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/distributed/utils.py",
            "{len(partitions)=} does not match {pp_size=}.",
            Level.DERIVED,
        ),
    ),
)
def pipeline_partition_wrong(deployment: Deployment) -> Verdict:
    """The pipeline partition does not match the layers or the stages

    What it finds
    `VLLM_PP_LAYER_PARTITION` with another number of entries than pipeline stages, or whose entries do not add up to
    the layers of the model; or more pipeline stages than layers.

    Why it fails
    Each entry is the number of layers of one stage. vLLM checks both: "len(partitions)=3 does not match pp_size=2."
    and "sum(partitions)=60 does not match num_hidden_layers=62."

    What to do
    Give one number per stage that add up to the model's layers, or leave the variable out: layers are then spread
    evenly, with spare ones in the middle stages.

    Not covered
    Whether the partition is a good one: the smallest stage decides how much KV cache there is.
    """
    stages, layers = deployment.pipeline_parallel_size, deployment.architecture.num_hidden_layers
    partition = deployment.pipeline_partition
    drop = Fix(f"unset {_VARIABLE}", drop_env=(_VARIABLE,))
    # vLLM reads the variable for one stage as well
    if partition is not None:
        if len(partition) != stages:
            return Breach(
                because=f"{_VARIABLE} has {len(partition)} entries for {stages} pipeline stages",
                about=(_VARIABLE,),
                fixes=(drop,),
                error=f"len(partitions)={len(partition)} does not match pp_size={stages}.",
            )
        if sum(partition) != layers:
            return Breach(
                because=f"{_VARIABLE} adds up to {sum(partition)} layers, and the model has {layers}",
                about=(_VARIABLE,),
                fixes=(drop,),
                error=f"sum(partitions)={sum(partition)} does not match num_hidden_layers={layers}.",
            )
        return None
    if stages > layers:
        return Breach(
            because=f"{stages} pipeline stages for {layers} layers",
            about=("pipeline_parallel_size",),
            fixes=(Fix("use fewer pipeline stages", set={"pipeline_parallel_size": 1}),),
        )
    return None
