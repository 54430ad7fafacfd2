"""Real vLLM releases, asked: an isolated environment per release and a worker inside it."""
