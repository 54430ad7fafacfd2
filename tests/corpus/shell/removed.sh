# Flags of older releases, all for 0.33.0
vllm serve Qwen/Qwen3-32B --max-seq-len-to-capture 32768 --max-model-len 32768
vllm serve mistralai/Mistral-Small-3.2-24B-Instruct-2506 --swap-space 8 --tokenizer-mode mistral
vllm serve Qwen/Qwen3-8B --max-model-len 16384 --guided-decoding-backend xgrammar
vllm serve Qwen/Qwen3-8B --max-model-len 16384 --num-scheduler-steps 8
vllm serve Qwen/Qwen3-Coder-30B-A3B-Instruct \
    --rope-scaling '{"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 262144}' \
    --max-model-len 1010000 \
    --swap-space 0
vllm serve my-org/private-finetune --rope-scaling '{"rope_type":"yarn","factor":2.0}' --max-model-len 65536
vllm serve Qwen/Qwen3-8B --max-model-len 16384 --enable-reasoning --reasoning-parser qwen3
vllm serve Qwen/Qwen3-8B --max-model-len 16384 --tp 2
VLLM_USE_V1=0 vllm serve Qwen/Qwen3-8B --max-model-len 16384
vllm serve Qwen/Qwen3-8B --max-model-len 16384 --disable-log-requests
vllm serve Qwen/Qwen3-8B --max-model-len 16384 --structured-outputs-config.backend xgrammar
