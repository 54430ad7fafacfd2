"""The published answers: what ``--json`` prints, as types whose JSON Schemas are exported."""
