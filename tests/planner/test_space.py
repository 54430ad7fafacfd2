"""The shapes that are tried."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qcmatrix.planner.space import Shape, shapes


@given(st.integers(1, 4), st.integers(1, 16), st.booleans())
def test_shapes_fit_the_fleet_and_are_distinct(nodes: int, per_node: int, experts: bool) -> None:
    found = shapes(nodes, per_node, experts)
    assert len(set(found)) == len(found)
    for shape in found:
        assert 1 <= shape.gpus <= nodes * per_node
        assert shape.replica <= per_node or shape.replica % per_node == 0
        assert experts or not shape.enable_expert_parallel


def test_eight_gpus() -> None:
    found = shapes(1, 8, True)
    assert Shape(8, 1, 1, True) in found
    assert Shape(8, 1, 1, False) in found
    assert Shape(1, 1, 8, True) in found
    assert Shape(4, 1, 2, True) in found
    assert Shape(2, 2, 2, False) in found
    assert Shape(1, 1, 1, False) in found
