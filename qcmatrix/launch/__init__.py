"""One ``vllm serve`` invocation as typed engine arguments and environment."""
