"""The refresher: writes the release files of the catalogue from what vLLM published.

``python -m qcmatrix.refresh releases`` reads the source archives by static extraction (``ast``; nothing of vLLM is
imported or run), prints what would change and writes on request.
"""
