"""A compatibility matrix for serving Qwen3-Coder with vLLM: measured, not documented."""

__version__ = "0.1.0"
