"""parse(render(x)) == x, over the real surfaces of several releases."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qcmatrix.catalogue.releases import load_release
from qcmatrix.launch.parse import parse
from qcmatrix.launch.render import render, render_shell
from qcmatrix.launch.shell import split_shell

_SPEC = importlib.util.spec_from_file_location("launch_surfaces", Path(__file__).parent / "surfaces.py")
assert _SPEC is not None
assert _SPEC.loader is not None
surfaces = importlib.util.module_from_spec(_SPEC)
sys.modules["launch_surfaces"] = surfaces
_SPEC.loader.exec_module(surfaces)

QUIET = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("name", surfaces.RELEASES)
@QUIET
@given(data=st.data())
def test_words_come_back_as_the_same_launch(name: str, data: st.DataObject) -> None:
    release = load_release(name)
    launch = data.draw(surfaces.launches(release))
    words = render(launch, release)
    parsed = parse(words, release, env=launch.env)
    assert parsed.launch == launch
    assert not [problem for problem in parsed.problems if problem.refused and problem.span.stop <= 2]
    for dest, span in parsed.spans.items():
        name_, _, value = words[span.start].partition("=")
        flag = release.flag_by_dest[dest]
        assert name_ in (*flag.names, *flag.negations)
        assert value or span.stop - span.start <= 1 + 3


@pytest.mark.parametrize("name", surfaces.RELEASES)
@QUIET
@given(data=st.data(), width=st.integers(20, 200))
def test_shell_text_comes_back_as_the_same_launch(name: str, data: st.DataObject, width: int) -> None:
    release = load_release(name)
    launch = data.draw(surfaces.launches(release))
    command = split_shell(render_shell(launch, release, width, show_secrets=True))
    assert parse(command.argv, release, env=command.env).launch == launch
