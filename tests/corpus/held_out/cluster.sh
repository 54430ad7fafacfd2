#!/usr/bin/env bash
# 0.33.0, nodes of 8 H100
set -x
export VLLM_HOST_IP=$(hostname -I | awk '{print $1}')
if [ "$SLURM_PROCID" = 0 ]; then
  ray start --head --port=6379
  sleep 20
  vllm serve Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8 --tensor-parallel-size 8 --pipeline-parallel-size 2 \
    --distributed-executor-backend ray --max-model-len 131072
else
  ray start --block --address="$HEAD:6379"
fi
OPTS="--max-model-len 32768 --gpu-memory-utilization 0.92"
declare -A PORTS=([small]=8001 [large]=8002)
for name in "${!PORTS[@]}"; do
  CUDA_VISIBLE_DEVICES=0 vllm serve "Qwen/Qwen3-$name" $OPTS --port "${PORTS[$name]}" &
done
vllm serve Qwen/Qwen3-32B $OPTS --tensor-parallel-size 2 --no-enable-chunked-prefill --num-lookahead-slots 4
sudo -E env PATH=$PATH vllm serve Qwen/Qwen3-14B $OPTS --enforce-eager
while true; do vllm serve Qwen/Qwen3-8B $OPTS || sleep 5; done
vllm serve Qwen/Qwen3-8B $OPTS --scheduling-policy priority --preemption-mode swap &>> log.txt &
function run_one { vllm serve "$1" --port "$2" "${@:3}"; }
run_one Qwen/Qwen3-8B 8001 --swap-space 4
python3 -u -m vllm.entrypoints.openai.api_server \
    --model=Qwen/Qwen3-8B \
    --max-model-len=16384 \
    --disable-log-requests \
    --uvicorn-log-level warning | tee out.log
vllm serve Qwen/Qwen3-8B --max-model-len 16384 --tensor-parallel-size=2 --gpu_memory_utilization=.9 -dp 2
vllm serve Qwen/Qwen3-Coder-Next-FP8 --tensor-parallel-size 4 --max-model-len 262144 --enable-auto-tool-choice --tool-call-parser qwen3_coder
vllm serve Qwen/Qwen3-Coder-480B-A35B-Instruct --tensor-parallel-size 8 --max-model-len 131072
