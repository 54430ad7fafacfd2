"""What becomes of one command when its vLLM is replaced by a newer (or older) one."""
