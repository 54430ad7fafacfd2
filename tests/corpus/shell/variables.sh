#!/usr/bin/env bash
: "${MODEL_DIR:?set it}"
HOST=127.0.0.1
EXTRA=""
if [[ -n "${DEBUG:-}" ]]; then
  EXTRA="--enforce-eager"
fi

vllm serve "$MODEL_DIR" --host "$HOST" --port "$PORT" --tensor-parallel-size "$NGPU"
vllm serve Qwen/Qwen3-32B --host "$HOST" --max-model-len 32768 $EXTRA "$@"
vllm serve "$1" --served-model-name "$(basename "$1")" --max-model-len="${CTX}" --gpu-memory-utilization="${UTIL:-0.9}"
CUDA_VISIBLE_DEVICES=$GPU_IDS vllm serve ${MODEL:-Qwen/Qwen3-8B} --max-model-len ${CTX:-16384}
args=(--host "$HOST" --max-model-len 8192)
[[ -n "$LORA" ]] && args+=(--enable-lora --lora-modules "x=$LORA")
python -m vllm.entrypoints.openai.api_server --model Qwen/Qwen3-14B "${args[@]}"
vllm serve --config "$CONFIG_FILE"
vllm serve Qwen/Qwen3-8B --max-model-len $((32 * 1024)) --dtype auto
