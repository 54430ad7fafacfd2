"""HTTP with an OpenAI-compatible server, as it goes over the wire: nothing is mended on the way."""
