"""Facts about models, GPUs and vLLM releases, each with its source and date."""
