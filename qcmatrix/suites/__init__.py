"""The conformance suites: what a server must do, asked of a real one. ``pytest -m h200`` runs them."""
