#!/bin/sh
vllm serve Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8 --served-model-name qwen3-coder --port 30000 --max-model-len 65536 \
  --enable-auto-tool-choice --tool-call-parser qwen3_coder
