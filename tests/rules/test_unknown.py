"""Every rule that may answer unknown is seen to, the one included that no checkpoint of the catalogue can ask."""

from __future__ import annotations

import inspect
import sys

import pytest
from msgspec.structs import replace

from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.models import find_checkpoint
from qcmatrix.catalogue.releases import load_release
from qcmatrix.launch.launch import Launch
from qcmatrix.resolve import Resolver
from qcmatrix.rules import all_rules
from qcmatrix.rules.cases import case_file
from qcmatrix.rules.declare import Rule, Unknown
from qcmatrix.rules.model_class_not_in_release import model_class_not_in_release

_HERE_INSTEAD = {model_class_not_in_release.id}


def may_not_know() -> list[Rule]:
    return [rule for rule in all_rules() if "Unknown(" in inspect.getsource(sys.modules[rule.function.__module__])]


@pytest.mark.parametrize("rule", may_not_know(), ids=lambda rule: rule.id)
def test_there_is_an_unknown_case(rule: Rule) -> None:
    assert case_file(rule.id).unknown or rule.id in _HERE_INSTEAD


def test_a_class_that_is_not_in_the_catalogue() -> None:
    (fleet,) = parse_fleet("1xH200")
    deployment = Resolver(load_release("0.33.0"), fleet, find_checkpoint("30b")).resolve(Launch(model="30b"))
    other = replace(deployment, architecture=replace(deployment.architecture, architecture="MixtralForCausalLM"))
    verdict = model_class_not_in_release.function(other)
    assert isinstance(verdict, Unknown)
    assert verdict.decides
    assert "MixtralForCausalLM" in verdict.because
