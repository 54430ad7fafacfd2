"""Tool-call cases, put to the parsers of every release, whole and streamed, and judged."""
