"""JUnit: valid for what GitLab and Jenkins read, and each verdict where they look for it."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import junitparser
import pytest
import xmlschema

from rig.report.files import write_junit

from .test_matrix import BUILDS, RESULTS, Result

SCHEMA = xmlschema.XMLSchema(Path(__file__).with_name("junit.xsd"))


@pytest.fixture
def document(tmp_path: Path) -> ET.Element:
    path = tmp_path / "junit.xml"
    odd = Result("rtas/console/odd", 0, "mismatch", reason="console \x00\x1b[31m \ud800")
    write_junit(path, BUILDS, [*RESULTS, odd], 7, "rig run --seed 7")
    return ET.parse(path).getroot()


def test_the_file_is_valid_and_a_wrong_one_is_not(document: ET.Element) -> None:
    SCHEMA.validate(document)
    document[0].set("tests", "many")
    assert not SCHEMA.is_valid(document)


def test_the_counts_are_those_of_the_verdicts(document: ET.Element) -> None:
    counts = [[suite.get(key) for key in ("tests", "failures", "errors", "skipped")] for suite in document]
    assert counts == [["4", "1", "0", "1"], ["4", "1", "1", "0"]]


def test_a_deviation_passes_and_is_named(document: ET.Element) -> None:
    (case,) = document.findall("testsuite[1]/testcase[@name='b']")
    assert [child.tag for child in case] == ["system-out"]
    assert case.findtext("system-out") == "deviates: memop-xor-inverts"


def test_properties_say_what_was_run(document: ET.Element) -> None:
    found = {
        one.get("name"): one.get("value") for one in document.findall("testsuite[2]/properties/property")
    }
    assert found == {
        **{key: str(value) for key, value in BUILDS[1].items()},
        "seed": "7",
        "command": "rig run --seed 7",
    }


def test_a_case_more_costs_a_case_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run over several builds has thousands: they must not be counted anew for each of them."""
    counted = []
    real = junitparser.TestSuite.update_statistics

    def count(suite: junitparser.TestSuite) -> None:
        counted.append(suite)
        real(suite)

    monkeypatch.setattr(junitparser.TestSuite, "update_statistics", count)
    write_junit(tmp_path / "a.xml", BUILDS, RESULTS, 0, "")
    few = len(counted)
    write_junit(tmp_path / "b.xml", BUILDS, RESULTS * 10, 0, "")
    assert len(counted) == 2 * few
