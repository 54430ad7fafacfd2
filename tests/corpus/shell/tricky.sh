#!/usr/bin/env bash
# Valid, though it does not look so.
vllm serve Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8 `# the model` \
  --max-model-len 64K `# K is 1024` \
  --max_num_seqs=32 \
  --no-enable-prefix-caching \
  -O3 -q fp8
vllm serve --model Qwen/Qwen3-8B --max-model-len=16k --served-model-name qwen3 q3 --port=8001
vllm serve Qwen/Qwen3-8B --max-model-len 16384 --compilation-config '{"cudagraph_mode": "PIECEWISE"}' \
  --hf-overrides '{}' --override-generation-config '{"temperature": 0.6}'
vllm serve Qwen/Qwen3-8B --max-model-len 16384 --chat-template ./chat.jinja --chat-template-content-format openai \
  --allowed-origins '["http://localhost:3000"]' 2>&1 | tee -a serve.log
HF_HUB_OFFLINE=1 VLLM_LOGGING_LEVEL=DEBUG NCCL_P2P_DISABLE=1 exec vllm serve Qwen/Qwen3-8B --max-model-len 16384
(cd run && vllm serve Qwen/Qwen3-8B --max-model-len 16384 --disable-uvicorn-access-log) &
VLLM_PID=$!
for port in 8001 8002; do
  vllm serve Qwen/Qwen3-0.6B --port "$port" --max-model-len 4096 --gpu-memory-utilization 0.2 &
done
vllm serve Qwen/Qwen3-8B --speculative-config '{"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4}' --max-model-len 16384
env -u http_proxy VLLM_API_KEY="$(cat key)" vllm serve Qwen/Qwen3-8B --host 0.0.0.0 --max-model-len 16384
vllm serve Qwen/Qwen3-8B --max-model-len 16384 --kv-transfer-config '{"kv_connector":"LMCacheConnectorV1","kv_role":"kv_both"}'
~/.venv/bin/vllm serve ~/models/Qwen3-8B --served-model-name Qwen/Qwen3-8B --max-model-len 16384
vllm serve Qwen/Qwen3-8B --max-model-len 16384 --trust-remote-code --disable-log-stats --uvicorn-log-level=warning; echo "exit: $?"
uv run --with vllm==0.33.0 vllm serve Qwen/Qwen3-8B --max-model-len 16384
