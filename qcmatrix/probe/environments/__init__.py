"""One isolated environment per vLLM release, in the user's cache directory."""

from qcmatrix.probe.environments.build import ensure
from qcmatrix.probe.environments.shelf import Environment, environments, remove
from qcmatrix.probe.environments.uv import EnvironmentProblem

__all__ = ["Environment", "EnvironmentProblem", "ensure", "environments", "remove"]
