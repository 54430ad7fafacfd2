"""What is asked of a release: each part asks, and writes down what came of it."""
