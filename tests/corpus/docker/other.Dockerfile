FROM node:22
RUN npm ci && echo "talks to vllm serve on port 8000"
CMD ["node", "server.js", "--upstream", "http://vllm:8000"]
