#!/usr/bin/env bash
# Start Qwen3-Coder 480B on one node of 8 GPUs.
set -euo pipefail

# Old way, kept for reference:
# vllm serve Qwen/Qwen3-Coder-480B-A35B-Instruct --tensor-parallel-size 3 --swap-space 16

MODEL="Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8"
TP=8
PORT="${PORT:-8000}"
COMMON=(
  --tensor-parallel-size "$TP"
  --enable-expert-parallel   # keeps the experts whole
  --max-model-len 131072
  --port "$PORT"
)

start_plain() {
  vllm serve "$MODEL" "${COMMON[@]}"
}

start_tools() {
  # same, for agents
  vllm serve "$MODEL" "${COMMON[@]}" --enable-auto-tool-choice --tool-call-parser qwen3_coder
}

start_wrong_parser() {
  vllm serve "$MODEL" "${COMMON[@]}" --enable-auto-tool-choice --tool-call-parser hermes
}

start_swap() {
  vllm serve "$MODEL" "${COMMON[@]}" --swap-space 16
}

case "${1:-plain}" in
  plain) start_plain ;;
  tools) start_tools ;;
  *) echo "usage: $0 plain|tools (runs: vllm serve $MODEL)"; exit 1 ;;
esac
