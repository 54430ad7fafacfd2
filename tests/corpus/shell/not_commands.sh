#!/bin/bash
# Nothing here starts a server.
pip install -U "vllm==0.33.0"
uv pip install vllm --torch-backend=auto
vllm --version
vllm bench serve --model Qwen/Qwen3-8B --num-prompts 100
vllm chat --url http://localhost:8000/v1
echo "start it by: vllm serve Qwen/Qwen3-8B --swap-space 4"
printf 'vllm serve %s\n' "$MODEL"
pkill -f "vllm serve" || true
if pgrep -f 'vllm serve Qwen/Qwen3-8B --swap-space 4' > /dev/null; then exit 0; fi
ps aux | grep "vllm serve" | awk '{print $2}' | xargs -r kill
log "running vllm serve Qwen/Qwen3-8B --swap-space 16"
cat <<'USAGE'
Usage: serve.sh MODEL
  It runs vllm serve MODEL --swap-space 16 for you.
USAGE
curl -s http://localhost:8000/v1/models | jq .
git clone https://github.com/vllm-project/vllm.git && cd vllm
read -r -p "run vllm serve now? " answer
trap 'echo "vllm serve stopped"' EXIT
die() { echo "error: vllm serve --tensor-parallel-size $1 failed" >&2; exit 1; }
grep -rn "vllm serve" docs/
python3 -c "import vllm; print('vllm serve Qwen/Qwen3-8B --swap-space 4')"
sed -i 's/vllm serve Qwen/vllm serve my-org/' docs/guide.md
curl -sd '{"cmd": "vllm serve Qwen/Qwen3-8B --swap-space 4"}' http://localhost:9000
read -rp "vllm serve Qwen/Qwen3-8B --swap-space 4, now? " answer
log "vllm serve Qwen/Qwen3-8B --swap-space 4 failed"
[[ "$cmd" == "vllm serve Qwen/Qwen3-8B --swap-space 4" ]] && exit 0
supervisorctl status "vllm serve"
sudo grep -r "vllm serve Qwen/Qwen3-8B --swap-space 4" logs
