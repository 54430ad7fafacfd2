"""Commands that start vLLM, found in files, with the place of every word."""
