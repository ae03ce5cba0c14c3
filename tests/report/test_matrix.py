"""The matrix and the page: builds side by side, on a terminal and in one HTML file."""

from __future__ import annotations

from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from rig.report import page
from rig.report.files import report_json
from rig.report.matrix import rows, table
from rig.report.result import Result

BUILDS = [
    {"path": f"/qemu-{version}", "version": version, "sha256": "0" * 64, "machine": "pseries", "cpu": ""}
    for version in ("5.2.0", "11.1.3")
]
RESULTS = [
    Result("memop/a", 0, "conforms"),
    Result("memop/b", 0, "deviates", ("memop-xor-inverts",)),
    Result("memop/c", 0, "skipped", reason="too old"),
    Result("memop/a", 1, "conforms"),
    Result("memop/b", 1, "mismatch", reason="<b>0x1</b> & not 0x2", evidence="evidence/b"),
    Result("memop/c", 1, "conforms"),
    Result("memop/d", 1, "error", reason="QEMU died"),
]
COVERED: dict[str, Any] = {
    "hypercalls": {"H_LOGICAL_MEMOP": {"calls": 3, "returns": {"H_SUCCESS": 3}}},
    "rtas": {},
    "requirements": {"R1-7.3.1.1-1": ["memop/a"]},
}


class Elements(HTMLParser):
    """What a browser would fetch or show."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text += data


def written(folder: Path) -> Elements:
    report = report_json(BUILDS, RESULTS, 7, COVERED)
    return Elements(page.write(folder, report, RESULTS, "rig run").read_text())


def test_a_row_has_a_cell_for_each_build_even_one_that_was_not_reached() -> None:
    found = {row.scenario: row for row in rows(RESULTS, 2)}
    assert list(found) == ["memop/a", "memop/b", "memop/c", "memop/d"]
    assert found["memop/d"].cells == (None, RESULTS[-1])
    assert [row.plain for row in found.values()] == [True, False, True, False]


def test_the_terminal_shows_what_there_is_to_say_and_counts_the_rest() -> None:
    console = Console(width=120, file=StringIO())
    with console.capture() as printed:
        console.print(table(RESULTS, ["5.2.0", "11.1.3"]))
    lines = printed.get().splitlines()
    assert any(
        "memop/b" in line and "deviates memop-xor-inverts" in line and "mismatch" in line for line in lines
    )
    assert not any("memop/a" in line for line in lines)
    assert any("2 more conform" in line for line in lines)


def test_the_page_needs_nothing_else_and_links_to_the_evidence(tmp_path: Path) -> None:
    evidence = tmp_path / "evidence/b"
    evidence.mkdir(parents=True)
    (evidence / "program.yaml").write_text("")
    (evidence / "screen.png").write_bytes(b"\x89PNG")
    shown = written(tmp_path)
    assert not any(link.startswith(("http", "//", "/")) for link in shown.links)
    assert not {"script", "link", "iframe"} & set(shown.tags)
    assert {"evidence/b/program.yaml", "evidence/b/screen.png"} <= set(shown.links)
    assert "data:image/png;base64,iVBORw==" in shown.links
    for text in (
        "QEMU 5.2.0",
        "QEMU 11.1.3",
        "memop-xor-inverts",
        "H_SUCCESS (3)",
        "R1-7.3.1.1-1",
        "QEMU died",
    ):
        assert text in shown.text


def test_the_page_has_the_known_deviations_by_build(tmp_path: Path) -> None:
    shown = written(tmp_path)
    assert shown.text.count("memop-xor-inverts") == 2
    (row,) = [line for line in shown.text.split("memop-xor-inverts") if "documentation" in line]
    assert row.split("documentation")[1].split()[:2] == ["1", "?"], "its scenario was not played on 11.1.3"


def test_a_reason_is_text_and_no_markup(tmp_path: Path) -> None:
    shown = written(tmp_path)
    assert "<b>0x1</b> & not 0x2" in shown.text
    assert "b" not in shown.tags
