"""What the name of a container image tells: the vLLM release in it, and whether it serves by itself."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["image_like", "release_of_image", "serves_by_itself"]

_WITHIN = re.compile(r"vllm[-_]?v?(0\.\d+(?:\.\d+)*(?:\.?(?:rc|post|dev)\d+)*)")
"""``rocm6.4.1_vllm_0.10.1_20250909``, ``cuda12.8-vllm0.13.0``."""
_TAG = re.compile(r":v?(0\.\d+(?:\.\d+)*(?:\.?(?:rc|post|dev)\d+)*)")
"""Vendors count their own images from 1 on (``rhaiis/vllm-cuda-rhel9:3.2.5``) or by the month (``vllm:25.11-py3``):
no release of vLLM is called so."""
_BESIDE = re.compile(
    r"router|proxy|gateway|dashboard|exporter|bench|client|operator|scheduler|cache-?server|sidecar|omni"
)
_SERVER_OPTION = re.compile(r"--(?:tensor-parallel-size|max-model-len|gpu-memory-utilization|served-model-name)\b")
_UNKNOWN = re.compile(r"\$|\{\{|<")
_IMAGE = re.compile(r"[\w.-]+(?::\d+)?(?:/[\w.-]+)+(?::[\w.-]+)?(?:@sha256:\w+)?|[\w.-]+:[\w.-]+")


def release_of_image(image: str) -> str | None:
    """The release that ``vllm/vllm-openai:v0.11.0`` names; ``None``: it names none."""
    if "vllm" not in image:
        return None
    name, _, tag = image.partition("@")[0].rpartition("/")[2].partition(":")
    found = _WITHIN.search(tag) or _TAG.match(f":{tag}") or _WITHIN.fullmatch(name)
    return found[1].strip(".") if found is not None else None


def serves_by_itself(image: str | None, arguments: Iterable[str]) -> bool:
    """Is the image's own entrypoint vLLM's server? Routers and dashboards have vllm in their names, too.

    Of an image that is not known (``None``, or a variable in its name) what it is given tells: ``arguments``.
    """
    name = (image or "").partition("@")[0].rpartition("/")[2].partition(":")[0]
    if image is not None and ("vllm" in name or not _UNKNOWN.search(image)):
        return "vllm" in image and _BESIDE.search(name) is None
    return any(_SERVER_OPTION.match(word) for word in arguments)


def image_like(word: str) -> bool:
    """Is ``word`` written as the name of an image, with a registry or a tag?"""
    return _IMAGE.fullmatch(word) is not None
