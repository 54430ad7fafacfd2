"""Writes the tiny checkpoint; runs inside the environment of a vLLM release, which has torch and Transformers.

``python make.py DIRECTORY WORKER_DIRECTORY TEMPLATE``: the second is where ``tokenizer.py`` of the probe's worker lies,
the third the chat template to give it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

SEED = 20261128
CONTEXT = 8192
CONFIG = {
    "vocab_size": 151936,  # the real one's: the added tokens have their real ids
    "hidden_size": 128,
    "intermediate_size": 256,
    "moe_intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "norm_topk_prob": True,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "max_position_embeddings": CONTEXT,
    "tie_word_embeddings": False,
    "bos_token_id": None,
    "eos_token_id": 151645,
    "pad_token_id": 151643,
}
ROPE_THETA = 10_000_000.0
GENERATION = {
    # The values of Qwen3-Coder-30B-A3B-Instruct's generation_config.json: a server takes them as defaults.
    "do_sample": True,
    "temperature": 0.7,
    "top_p": 0.8,
    "top_k": 20,
    "repetition_penalty": 1.05,
    "eos_token_id": [151645, 151643],
    "pad_token_id": 151643,
}


def make(directory: Path, template: Path) -> None:
    """A random Qwen3-MoE of two layers and the probe's tokenizer, as a checkpoint that vLLM serves."""
    import torch
    import transformers

    torch.manual_seed(SEED)
    rope = (
        {"rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA}}
        if int(transformers.__version__.partition(".")[0]) >= 5
        else {"rope_theta": ROPE_THETA}
    )
    config = transformers.Qwen3MoeConfig(**CONFIG, **rope)
    model = transformers.Qwen3MoeForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(directory)
    # Releases read different keys, and Transformers 5 writes only the newer ones: both are there, with the same value.
    path = directory / "config.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    written["rope_theta"] = ROPE_THETA
    written["num_experts"] = written["num_local_experts"] = CONFIG["num_experts"]
    written["architectures"] = ["Qwen3MoeForCausalLM"]
    written.setdefault("torch_dtype", "bfloat16")
    path.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    (directory / "generation_config.json").write_text(json.dumps(GENERATION, indent=2) + "\n", encoding="utf-8")

    from tokenizer import tokenizer  # type: ignore[import-not-found]  # the worker's, on the path of this process

    made = tokenizer()
    made.model_max_length = CONTEXT * 4
    made.save_pretrained(directory)
    path = directory / "tokenizer_config.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    written["tokenizer_class"] = "PreTrainedTokenizerFast"
    written.pop("auto_map", None)
    written["chat_template"] = template.read_text(encoding="utf-8")
    path.write_text(json.dumps(written, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    where, worker, chat = (Path(word) for word in sys.argv[1:4])
    sys.path.insert(0, str(worker))
    make(where, chat)
