"""Shared by all tests."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# How fast a machine draws examples is no fault of what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# What gates a landing must not depend on luck: the same examples every time. Elsewhere each run draws new ones.
settings.register_profile("gate", settings.get_profile("patient"), derandomize=True)
settings.load_profile("gate" if os.environ.get("CI") else "patient")
