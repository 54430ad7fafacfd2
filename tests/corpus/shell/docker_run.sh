#!/usr/bin/env bash
# Every form of docker run that people write
docker pull vllm/vllm-openai:v0.10.0
docker run --runtime nvidia --gpus all -v ~/.cache/huggingface:/cache --ipc=host -p 8000:8000 \
    vllm/vllm-openai:v0.28.0 --model Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8 --tensor-parallel-size 8
docker run -d --rm --gpus '"device=0,1"' --shm-size 16g -e HF_TOKEN -p 8000:8000 vllm/vllm-openai:v0.33.0 \
    Qwen/Qwen3-32B --tensor-parallel-size 2 --max-model-len 32768 --host 0.0.0.0
docker run --gpus '"device=0,1"' -p 8000:8000 vllm/vllm-openai:v0.33.0 --model Qwen/Qwen3-32B -tp 4 --max-model-len 32768
podman run --device nvidia.com/gpu=all --security-opt=label=disable docker.io/vllm/vllm-openai:v0.22.1 \
    --model Qwen/Qwen3-30B-A3B-FP8 --max-model-len 32768 --max-seq-len-to-capture 8192
docker run --gpus all --entrypoint bash vllm/vllm-openai:v0.33.0 -c "pip install -q bitsandbytes && vllm serve Qwen/Qwen3-8B --max-model-len 16384"
docker run --gpus all --entrypoint vllm vllm/vllm-openai:v0.33.0 serve Qwen/Qwen3-8B --max-model-len 16384 --dtype half
docker run --gpus all "$IMAGE" --model "$MODEL" --max-model-len 16384
docker run --gpus all vllm/vllm-openai:${VLLM_TAG:-v0.33.0} --model Qwen/Qwen3-8B --max-model-len 16384 --swap-space 2
docker run --gpus all vllm/vllm-openai:v0.33.0 --model Qwen/Qwen3-8B --max-model-len 16384 --api-key sk-local-1234
docker run --rm ghcr.io/open-webui/open-webui:main
docker build -t my/vllm-openai:latest . && docker push my/vllm-openai:latest
docker logs -f vllm
