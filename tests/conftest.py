"""Shared by all tests."""

from __future__ import annotations

import os

from hypothesis import settings

# What gates a landing must not depend on luck: the same examples every time. Elsewhere each run draws new ones.
settings.register_profile("gate", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("gate")
