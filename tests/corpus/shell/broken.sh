#!/bin/bash
vllm serve Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8 \ 
  --max-model-len 65536
vllm serve Qwen/Qwen3-8B \
  --max-model-len 16384 \
  --swap-space 4
vllm serve Qwen/Qwen3-8B --max-model-len --port 8000
vllm serve Qwen/Qwen3-8B --gpu-memory-utilization 95 --max-model-len 16384
vllm serve Qwen/Qwen3-8B --max-model-len 16384 --tensor-paralel-size 2

vllm serve Qwen/Qwen3-8B --max-model-len 16384
--port 8001
