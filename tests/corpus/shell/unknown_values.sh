#!/bin/bash
# Values that only the caller knows; nothing may be said of them.
vllm serve Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8 --max-model-len 65536 --enable-auto-tool-choice --tool-call-parser "$PARSER"
vllm serve Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8 --max-model-len 65536 --quantization "$QUANT" --kv-cache-dtype "$KV"
vllm serve Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8 --max-model-len "$CTX" --max-num-batched-tokens 512 --max-num-seqs "$SEQS"
vllm serve Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8 --tensor-parallel-size "$TP" --max-model-len 131072
vllm serve Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8 --tensor-parallel-size 8 --max-model-len 1048576 --hf-overrides "$OVERRIDES"
vllm serve Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8 --max-model-len 65536 --served-model-name "$NAME" --host "$HOST"
vllm serve Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8 --max-model-len 65536 --reasoning-parser="$REASONING" --dtype "$DTYPE"
vllm serve Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8 --max-model-len 65536 --speculative-config "$SPEC" --load-format $FORMAT
VLLM_ATTENTION_BACKEND=$BACKEND vllm serve Qwen/Qwen3-8B --max-model-len 16384
CUDA_VISIBLE_DEVICES=$GPUS vllm serve Qwen/Qwen3-32B --tensor-parallel-size 4 --max-model-len 16384
vllm serve Qwen/Qwen3-8B --max-model-len 16384 --gpu-memory-utilization `cat util` --api-key "$KEY"
vllm serve Qwen/Qwen3-8B --max-model-len 16384 --swap-space "$SWAP"
vllm serve Qwen/Qwen3-8B --max-model-len 16384 $FLAGS --tensor-parallel-size $(nvidia-smi -L | wc -l)
vllm serve Qwen/Qwen3-8B --max-model-len 16384 ${LORA:+--enable-lora} ${EXTRA_ARGS[@]} --data-parallel-size ${DP}
vllm serve "Qwen/Qwen3-$SIZE" --max-model-len 16384 --enable-expert-parallel
