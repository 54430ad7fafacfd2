#!/bin/sh
HOSTNAME_REMOTE=gpu01
ssh "$HOSTNAME_REMOTE" "cd deploy && nohup vllm serve Qwen/Qwen3-14B --max-model-len 16384 --swap-space 4 > vllm.log 2>&1 &"
ssh gpu02 vllm serve Qwen/Qwen3-14B --max-model-len 16384
tmux new-session -d -s coder "vllm serve Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8 --max-model-len 65536 --port 8001"
tmux send-keys -t coder "vllm serve Qwen/Qwen3-8B --max-model-len 8192 --kv-cache-dtype fp8" C-m
screen -dmS second vllm serve Qwen/Qwen3-4B --max-model-len 8192 --port 8002
tmux kill-session -t "vllm serve" || true
docker exec -d worker vllm serve Qwen/Qwen3-1.7B --max-model-len 4096
bash -lc 'source .venv/bin/activate && exec vllm serve google/gemma-3-27b-it --max-model-len 16384 --limit-mm-per-prompt "{\"image\": 2}"'
kubectl exec deploy/vllm -- vllm serve Qwen/Qwen3-0.6B --max-model-len 2048
timeout 3600 numactl --cpunodebind=0 vllm serve Qwen/Qwen3-8B --max-model-len 8192 --enable-reasoning
