# One RTX 4090 with 24 GB
vllm serve Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8 --max-model-len 32768
vllm serve Qwen/Qwen3-8B-FP8 --max-model-len 16384
vllm serve Qwen/Qwen2.5-Coder-7B-Instruct-AWQ --max-model-len 16384 --quantization awq_marlin
vllm serve Qwen/Qwen2.5-Coder-7B-Instruct-AWQ --max-model-len 16384 --quantization gptq
vllm serve Qwen/Qwen3-4B --max-model-len 16384 --load-format dummy
vllm serve Qwen/Qwen3-4B --max-model-len 16384 --tensor-parallel-size 2
vllm serve Qwen/Qwen3-4B --max-model-len 16384 --enable-expert-parallel
vllm serve Qwen/Qwen3-8B-FP8 --max-model-len 16384 --kv-cache-dtype fp8_e5m2
vllm serve Qwen/Qwen3-4B --max-model-len 16384 --max-num-batched-tokens 512 --max-num-seqs 1024
vllm serve Qwen/Qwen3-4B --max-model-len 65536
