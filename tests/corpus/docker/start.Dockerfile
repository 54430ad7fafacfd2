FROM vllm/vllm-openai:latest
COPY start.sh /start.sh
RUN chmod +x /start.sh
ENTRYPOINT vllm serve ${MODEL_NAME:-meta-llama/Meta-Llama-3.1-8B-Instruct} ${REVISION:+--revision "$REVISION"} --max-model-len ${CTX} --port 8000
