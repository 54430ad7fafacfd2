#!/bin/bash
# vLLM 0.10.2 on 8 x H200
export VLLM_WORKER_MULTIPROC_METHOD=spawn

vllm serve Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8 \
  --tensor-parallel-size 8 \
  --max-model-len 131072

vllm serve Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8 \
  --tensor-parallel-size 8 --enable-expert-parallel \
  --max-model-len 131072 \
  --swap-space 4

vllm serve Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8 -tp 8 --enable-expert-parallel \
  --enable-auto-tool-choice --tool-call-parser qwen3_xml --max-model-len 65536

VLLM_ALLOW_LONG_MAX_MODEL_LEN=1 vllm serve Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8 -tp 8 --enable-expert-parallel \
  --max-model-len 1048576

vllm serve Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8 -tp 8 --enable-expert-parallel \
  --rope-scaling '{"rope_type":"yarn","factor":4.0,"original_max_position_embeddings":262144}' \
  --max-model-len 1M

python3 -m vllm.entrypoints.openai.api_server --model Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8 \
  --async-scheduling --kv-cache-memory-bytes 20G --max-model-len 65536
