#!/usr/bin/env bash
# Models that no catalogue of Qwen coders has; every flag is right for vLLM 0.33.0.
vllm serve deepseek-ai/DeepSeek-V3.2 --tensor-parallel-size 8 --enable-expert-parallel --tool-call-parser deepseek_v31 --enable-auto-tool-choice
vllm serve zai-org/GLM-4.6-FP8 -tp 8 --tool-call-parser glm45 --reasoning-parser glm45 --enable-auto-tool-choice
vllm serve moonshotai/Kimi-K2-Instruct-0905 --trust-remote-code -tp 16 -pp 1 --tool-call-parser kimi_k2 --enable-auto-tool-choice
vllm serve openai/gpt-oss-20b --async-scheduling --tool-call-parser openai --enable-auto-tool-choice
vllm serve mistralai/Mistral-Large-Instruct-2411 --tokenizer-mode mistral --config-format mistral --load-format mistral --tensor-parallel-size 8
vllm serve google/gemma-3-12b-it --limit-mm-per-prompt '{"image": 4}' --mm-processor-kwargs '{"do_pan_and_scan": true}'
vllm serve Qwen/Qwen2.5-VL-7B-Instruct --max-model-len 32768 --mm-encoder-tp-mode data --mm-processor-cache-gb 0
vllm serve Qwen/Qwen3-Embedding-8B --runner pooling --convert embed
vllm serve BAAI/bge-reranker-v2-m3 --runner pooling --port 8002
vllm serve nvidia/Llama-3_3-Nemotron-Super-49B-v1_5 --trust-remote-code --enforce-eager --swap-space 4
vllm serve MiniMaxAI/MiniMax-M2 --tensor-parallel-size 4 --tool-call-parser minimax_m2 --enable-auto-tool-choice
vllm serve unsloth/some-model-bnb-4bit --quantization bitsandbytes --load-format bitsandbytes --dtype bfloat16
vllm serve ./checkpoints/step-2000 --tokenizer Qwen/Qwen3-8B --hf-overrides '{"max_position_embeddings": 65536}'
vllm serve meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8 -tp 8 --max-model-len 430000 --kv-cache-dtype fp8 --override-generation-config '{"attn_temperature_tuning": true}'
vllm serve my-org/qwen3-coder-lora-merged --tool-call-parser qwen3_coder --enable-auto-tool-choice --max-model-len 131072
vllm serve microsoft/Phi-4-multimodal-instruct --enable-lora --max-lora-rank 320 --lora-modules speech=/models/phi/speech-lora --max-loras 2
vllm serve s3://bucket/models/llama --load-format runai_streamer --model-loader-extra-config '{"concurrency": 16}'
vllm serve baidu/ERNIE-4.5-21B-A3B-PT --speculative-config '{"method": "mtp", "num_speculative_tokens": 1}'
vllm serve nvidia/DeepSeek-R1-NVFP4 -tp 4 --data-parallel-size 2 --enable-expert-parallel --enable-eplb --eplb-config '{"num_redundant_experts": 32}'
vllm serve tiiuae/Falcon-H1-7B-Instruct --mamba-ssm-cache-dtype float32 --max-num-seqs 64
vllm serve stabilityai/stablelm-2-12b --ssl-keyfile key.pem --ssl-certfile cert.pem --root-path /llm
vllm serve internlm/internlm3-8b-instruct --host 127.0.0.1 --middleware my.module.Auth --no-such-flag
vllm serve CohereLabs/c4ai-command-a-03-2025 -tp 4 --api-key "$KEY" --max-model-len 65536
vllm serve ibm-granite/granite-3.3-8b-instruct --gpu-memory-utilization 1.2
vllm serve allenai/OLMo-2-0325-32B-Instruct --max-num-batched-tokens 256 --max-num-seqs 512
