"""Reading what vLLM writes when it starts: lines -> facts, failures and what each failure is known as."""
