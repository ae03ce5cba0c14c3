"""The reasons for statuses that are never seen."""

from __future__ import annotations

import re

import pytest

from rig.check.deviations import load
from rig.model.rtas.families import SERVICES
from rig.model.rtas.unseen import OWN, why


@pytest.mark.parametrize("name", OWN)
def test_reasons_are_given_for_statuses_of_the_contract(name: str) -> None:
    assert OWN[name].keys() <= SERVICES[name].statuses


def test_the_deviations_that_are_reasons_are_known() -> None:
    reasons = "\n".join(reason for own in OWN.values() for reason in own.values())
    assert set(re.findall(r"deviation ([\w-]+)", reasons)) <= {deviation.id for deviation in load()}


def test_a_service_has_its_own_reason_before_the_general_one() -> None:
    assert why("start-cpu", -1) == "needs hardware that fails"
    assert why("start-cpu", 3)
    assert why("start-cpu", 0) == ""
    assert why("read-pci-config", 0) != why("start-cpu", 0)
