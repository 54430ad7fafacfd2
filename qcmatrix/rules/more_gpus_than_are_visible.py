"""Rule: a launch that wants more GPUs than it may see."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range

_VARIABLES = {
    "nvidia": ("NVIDIA_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"),
    "unlisted": ("NVIDIA_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"),
    "amd": ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"),
}
_MORE = {"NVIDIA_VISIBLE_DEVICES": "give the container all GPUs: `--gpus all`"}
_ALL = frozenset({"all"})
_NONE = frozenset({"void", "none", "NoDevFiles"})
_NAMED = ("GPU-", "MIG-")


@rule(
    holds=Range("0.10.0"),
    reads=(
        "fleet",
        "gpu",
        "env",
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "data_parallel_size",
        "data_parallel_size_local",
        "data_parallel_rank",
        "data_parallel_external_lb",
        "data_parallel_backend",
        "prefill_context_parallel_size",
        "distributed_executor_backend",
        "nnodes",
    ),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://docs.nvidia.com/deploy/topics/topic_5_2_1.html",
            "Only the devices whose index or UUID is present in the sequence are visible to CUDA applications",
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/config/parallel.py",
            "is larger than the number of available GPUs",
            Level.DERIVED,
        ),
        RuleSource(
            "https://docs.docker.com/engine/containers/gpu/",
            "docker run -it --rm --gpus '\"device=0,2\"' ubuntu nvidia-smi",
        ),
    ),
    enforced_by_vllm=False,
)
def more_gpus_than_are_visible(deployment: Deployment) -> Verdict:
    """The launch wants more GPUs than the environment lets it see

    What it finds
    `CUDA_VISIBLE_DEVICES` (on AMD cards `HIP_VISIBLE_DEVICES`, `ROCR_VISIBLE_DEVICES`), or a container's `--gpus`
    (`NVIDIA_VISIBLE_DEVICES`), with fewer devices than the ranks of this node need.

    Why it fails
    The other GPUs do not exist for the process, so that it ends as on a smaller node: a world size "larger than the
    number of available GPUs", a Ray placement group that never becomes ready, or "invalid device ordinal".

    What to do
    Name as many devices as the launch has ranks, take the variable away, or lower a size.

    Not covered
    Whether the devices exist and are free. Ray and launches over several nodes, whose workers see another
    environment.
    """
    env = deployment.env
    if not env:
        return None
    for name in _VARIABLES[deployment.gpu.vendor]:
        value = env.get(name)
        if value is not None and (verdict := _judged(deployment, name, value.strip())) is not None:
            return verdict
    return None


def _judged(deployment: Deployment, name: str, value: str) -> Verdict:
    if (
        deployment.nnodes > 1
        or deployment.data_parallel_backend == "ray"
        or deployment.distributed_executor_backend in ("ray", "external_launcher")
    ):
        return None
    if value in _ALL or (name == "NVIDIA_VISIBLE_DEVICES" and not value):
        return None
    visible = _visible(value)
    if visible is None:
        return Unknown(f"how many GPUs {name}={value} leaves visible cannot be told")
    tensor, pipeline = deployment.tensor_parallel_size, deployment.pipeline_parallel_size
    prefill, data = deployment.prefill_context_parallel_size, deployment.data_parallel_size
    if deployment.data_parallel_external_lb or deployment.data_parallel_rank is not None:
        data = 1
    elif deployment.data_parallel_size_local is not None:
        data = deployment.data_parallel_size_local
    wanted = tensor * pipeline * prefill * data
    # A launch over nodes is judged by the node; one that wants more than there is has a rule of its own.
    wanted = min(wanted, deployment.fleet.gpus_per_node)
    if wanted <= visible:
        return None
    sizes = {"tensor_parallel_size": tensor, "pipeline_parallel_size": pipeline, "data_parallel_size": data}
    fixes = []
    for dest, size in sizes.items():
        fits = size * visible // (tensor * pipeline * prefill * data)
        if size > 1 and fits >= 1 and fits * (tensor * pipeline * prefill * data // size) <= visible:
            fixes.append(Fix(f"use `--{dest.replace('_', '-')} {fits}`", set={dest: fits}))
    return Breach(
        because=f"the launch wants {wanted} GPUs here, and {name} leaves {visible} visible",
        about=(name, *(dest for dest, size in sizes.items() if size > 1)),
        fixes=(Fix(_MORE.get(name, f"take `{name}` away"), drop_env=(name,)), *fixes),
    )


def _visible(value: str) -> int | None:
    """How many devices a list names; ``None``: it cannot be read."""
    if not value or value in _NONE:
        return 0
    seen: set[str] = set()
    for word in value.split(","):
        device = word.strip()
        if device == "-1":  # hides itself and all after it
            break
        if not device.isdigit() and not device.startswith(_NAMED):
            return None
        seen.add(device)
    return len(seen)
