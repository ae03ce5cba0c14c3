"""What sanitizers say on stderr: which lines are a report, of which function, and what is new."""

from __future__ import annotations

from pathlib import Path

import pytest

from rig.machine import sanitizer
from rig.machine.sanitizer import Log, Report, reports

HEADLINE = (
    "../hw/ppc/spapr_hcall.c:61:19: runtime error: shift exponent 32 is too large for 32-bit type 'int'"
)
STACK = """\
    #0 0x55a61 in bswap64s /src/include/qemu/bswap.h:38
    #1 0x55a61 in h_logical_memop ../hw/ppc/spapr_hcall.c:61
    #2 0x55852 in spapr_hypercall ../hw/ppc/spapr_hcall.c:1582

"""
ADDRESS = """\
==7==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x602000000118 at pc 0x55d0 bp 0x7ffc sp 0x7ffb
READ of size 4 at 0x602000000118 thread T2
    #0 0x7f21 in __interceptor_memcpy ../../../src/libsanitizer/sanitizer_common_interceptors.inc:827
    #1 0x55d0 in rtas_nvram_fetch ../hw/nvram/spapr_nvram.c:101

0x602000000118 is located 0 bytes to the right of 8-byte region [0x602000000110,0x602000000118)
allocated by thread T0 here:
    #0 0x7f21 in calloc ../../../src/libsanitizer/asan_malloc_linux.cpp:154
    #1 0x5513 in spapr_nvram_realize ../hw/nvram/spapr_nvram.c:151

SUMMARY: AddressSanitizer: heap-buffer-overflow ../hw/nvram/spapr_nvram.c:101 in rtas_nvram_fetch
"""
LEAK = """\
==7==ERROR: LeakSanitizer: detected memory leaks
SUMMARY: AddressSanitizer: 32 byte(s) leaked in 1 allocation(s).
"""
RACE = """\
WARNING: ThreadSanitizer: data race (pid=7)
    #0 cpu_reset ../hw/core/cpu.c:9:3 (qemu+0x12)
"""
UNDEFINED = HEADLINE.removeprefix("../hw/ppc/").replace("61:19", "61")


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        (f"{HEADLINE}\n", "spapr_hcall.c", UNDEFINED),
        (f"{HEADLINE}\n{STACK}", "h_logical_memop", UNDEFINED),
        ("hw.c:7: runtime error: null pointer\n", "hw.c", "hw.c:7: runtime error: null pointer"),
        (ADDRESS, "rtas_nvram_fetch", "AddressSanitizer: heap-buffer-overflow"),
        (LEAK, "unknown place", "LeakSanitizer: detected memory leaks"),
        (RACE, "cpu_reset", "ThreadSanitizer: data race"),
    ],
)
def test_a_report_is_of_the_innermost_function_of_qemus(text: str, where: str, words: str) -> None:
    assert reports(f"qemu: warning: x\n{text}and more\n") == (Report(where, words),)


@pytest.mark.parametrize(
    "line",
    [
        "qemu-system-ppc64: warning: TCG doesn't support requested feature",
        "==7==WARNING: ASan doesn't fully support makecontext/swapcontext functions",
        "main.c:3: note",
    ],
)
def test_other_lines_are_no_report(line: str) -> None:
    assert reports(f"{line}\n{STACK}") == ()


def test_each_report_has_its_own_place() -> None:
    both = reports(f"{HEADLINE}\n{STACK}{HEADLINE.replace('61', '77')}\n{ADDRESS}")
    assert [one.where for one in both] == ["h_logical_memop", "spapr_hcall.c", "rtas_nvram_fetch"]


def test_only_what_is_new_and_whole_is_told(tmp_path: Path) -> None:
    path = tmp_path / "stderr.log"
    path.write_text("a.c:1:1: runtime error: of a QEMU before\n")
    log = Log(path)
    assert log.reports() == ()
    with path.open("a") as stream:
        for piece in (HEADLINE, f"\n{STACK[:70]}", STACK[70:-1]):
            stream.write(piece)
            stream.flush()
            assert log.reports() == ()
        stream.write("\n")
    assert log.reports() == (Report("h_logical_memop", UNDEFINED),)
    assert log.reports() == ()


def test_qemu_is_told_to_print_stacks_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UBSAN_OPTIONS", "print_stacktrace=0")
    assert sanitizer.environment()["UBSAN_OPTIONS"] == "print_stacktrace=1:print_stacktrace=0"
    monkeypatch.delenv("UBSAN_OPTIONS")
    assert sanitizer.environment()["UBSAN_OPTIONS"] == "print_stacktrace=1"
    assert sanitizer.environment().keys() >= {"PATH", "HOME"}
