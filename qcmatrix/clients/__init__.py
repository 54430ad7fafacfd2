"""Editors and other clients of a server: what their configuration asks for, against what the server gives."""
