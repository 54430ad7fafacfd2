"""Tool calls: the contract with an exact text forced on the model, and what a model does by itself."""
