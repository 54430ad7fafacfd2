#!/bin/zsh
set -o pipefail
typeset -a base
base=(vllm serve)
model=Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8
"${base[@]}" $model -tp 2 --max-model-len 131072 --kv-cache-dtype fp8
CMD="vllm serve $model --tensor-parallel-size 2 --max-model-len 65536 --served-model-name gpt-4o"
eval "$CMD"
$CMD --port 9000
vllm serve $model --max-model-len 262144
vllm serve $model --tensor-parallel-size 2 --max-model-len 65536 --reasoning-parser qwen3
vllm serve $model --tensor-parallel-size 3 --max-model-len 65536
CUDA_VISIBLE_DEVICES=0 vllm serve $model --tensor-parallel-size 2 --max-model-len 65536
CUDA_VISIBLE_DEVICES=1 vllm serve $model --max-model-len 32768 --port 8001
vllm serve $model --data-parallel-size 2 --enable-expert-parallel --max-model-len 65536
vllm serve $model -tp 2 --max-model-len 65536 --enable-auto-tool-choice
