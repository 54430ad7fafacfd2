"""What each layer of one rank asks of the cache: the release's own model, runner and platform code say it.

Questions are those of ``weights.py``. The answer has, for each pipeline stage, ``specs``: how many layers have which
spec.
"""

from __future__ import annotations

import ast
import json
from collections import Counter
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from qcmatrix_worker.weights import each_stage

__all__ = ["HANDLERS"]


def answer_kv_specs(question: dict[str, Any]) -> dict[str, Any]:
    """``{"stages": [{"specs": [{layers, kind, block_size, page_bytes ...}]}]}`` or ``refused``.

    Attention layers say ``kv_heads`` and ``head_dim``; state layers ``shapes``, ``dtypes``, ``blocks_per_request`` and
    ``mode`` (``null`` where the release has none).
    """
    stages: dict[str, Any] = each_stage(question, _specs)
    return stages


def _specs(_model: Any, vllm_config: Any) -> dict[str, Any]:
    from vllm.platforms import current_platform

    # The executor does it once the model is there. Older platforms answer `None` to any name that they do not know.
    update = getattr(current_platform, "update_block_size_for_backend", None)
    if update is not None:
        update(vllm_config)
    counted: Counter[str] = Counter()
    said = [_said(spec, vllm_config) for spec in _one_page_size(_from_the_runner(vllm_config)).values()]
    for one in said:
        counted[json.dumps(one, sort_keys=True)] += 1
    return {"specs": [{"layers": count, **json.loads(text)} for text, count in sorted(counted.items())]}


def _one_page_size(specs: Any) -> Any:
    """The specs as planning uses them: 0.18 and 0.19 raise the block size of a hybrid model only here."""
    from vllm.v1.core import kv_cache_utils

    unify = getattr(kv_cache_utils, "unify_kv_cache_spec_page_size", None)
    return unify(specs) if unify is not None else specs


def _from_the_runner(vllm_config: Any) -> Any:
    """``GPUModelRunner.get_kv_cache_spec``, on no runner but the attributes that it reads."""
    runner = SimpleNamespace(
        vllm_config=vllm_config,
        cache_config=vllm_config.cache_config,
        model_config=vllm_config.model_config,
        parallel_config=vllm_config.parallel_config,
        speculative_config=vllm_config.speculative_config,
        attention_chunk_size=getattr(vllm_config.model_config, "attention_chunk_size", None),
        kv_cache_dtype=_kv_cache_dtype(vllm_config),
        shared_kv_cache_layers={},
    )
    return _method_of_the_runner()(runner)


@cache
def _method_of_the_runner() -> Any:
    """The method compiled from the release's file, with the names that it uses imported as that file does.

    Importing the file itself brings the sampler's Triton kernels along, which a machine without a GPU has none of.
    """
    import vllm

    path = Path(vllm.__file__).parent.joinpath("v1", "worker", "gpu_model_runner.py")
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    method = next(
        item
        for owner in tree.body
        if isinstance(owner, ast.ClassDef) and owner.name == "GPUModelRunner"
        for item in owner.body
        if isinstance(item, ast.FunctionDef) and item.name == "get_kv_cache_spec"
    )
    method.returns = None
    used = {node.id for node in ast.walk(method) if isinstance(node, ast.Name)}
    imports: list[ast.stmt] = []
    for statement in tree.body:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            names = [one for one in statement.names if (one.asname or one.name.partition(".")[0]) in used]
            if names:
                statement.names = names
                imports.append(statement)
    code = compile(ast.Module([*imports, method], type_ignores=[]), str(path), "exec")
    namespace: dict[str, Any] = {"__name__": "vllm.v1.worker.gpu_model_runner", "__package__": "vllm.v1.worker"}
    exec(code, namespace)  # noqa: S102 - the release's own code is what is asked
    return namespace["get_kv_cache_spec"]


def _kv_cache_dtype(vllm_config: Any) -> Any:
    """The torch dtype as the runner's constructor finds it."""
    name = vllm_config.cache_config.cache_dtype
    if name == "auto":
        return vllm_config.model_config.dtype
    try:
        from vllm.utils.torch_utils import STR_DTYPE_TO_TORCH_DTYPE
    except ImportError:
        from vllm.utils import STR_DTYPE_TO_TORCH_DTYPE
    return STR_DTYPE_TO_TORCH_DTYPE[name]


def _said(spec: Any, vllm_config: Any) -> dict[str, Any]:
    common = {"block_size": spec.block_size, "page_bytes": spec.page_size_bytes}
    if hasattr(spec, "num_kv_heads"):
        return {"kind": "attention", "kv_heads": spec.num_kv_heads, "head_dim": spec.head_size, **common}
    dtypes = spec.dtypes if hasattr(spec, "dtypes") else (spec.dtype,) * len(spec.shapes)
    return {
        "kind": "state",
        "shapes": [list(shape) for shape in spec.shapes],
        "dtypes": [str(dtype).removeprefix("torch.") for dtype in dtypes],
        "mode": getattr(spec, "mamba_cache_mode", None),
        "blocks_per_request": spec.max_memory_usage_bytes(vllm_config) // spec.page_size_bytes,
        **common,
    }


HANDLERS = {"kv_specs": answer_kv_specs}
