"""What a run has covered: calls and what they returned, statuses never seen, scenarios by requirement."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping

from rig.model.rtas.service import Service
from rig.model.rtas.unseen import why
from rig.report.result import Result

#: names of the return codes that the calls under test use (LoPAR 14.5.3)
RETURN_NAMES = {0: "H_SUCCESS", -1: "H_HARDWARE", -2: "H_FUNCTION", -3: "H_PRIVILEGE", -4: "H_PARAMETER"}

#: said of a status that a build could give and that no call of the run was answered with
NOT_SEEN = "no call of this run was answered with it"


def coverage(
    results: Collection[Result], services: Mapping[str, Service], others: Collection[str]
) -> dict[str, object]:
    """The ``coverage`` of report.json; ``others`` are the names of hypercalls that are no services.

    Every service is there, called or not.  Calls without a status, because they did not return or had no room
    for it, are with its ``endings``.
    """
    returns: dict[str, Counter[int]] = defaultdict(Counter)
    endings: dict[str, Counter[str]] = defaultdict(Counter)
    for result in results:
        for (call, code), count in result.returns.items():
            returns[call][code] += count
        for (call, ending), count in result.endings.items():
            endings[call][ending] += count
    return {
        "hypercalls": {
            name: _hypercall(codes)
            for name, codes in sorted(returns.items())
            if _hypercall_name(name, others)
        },
        "rtas": {name: _service(services[name], returns[name], endings[name]) for name in sorted(services)},
        "requirements": requirements(results),
    }


def _hypercall_name(name: str, known: Collection[str]) -> bool:
    """Whether this is a hypercall, known or (by its opcode) not, rather than a step of another kind."""
    return name in known or name.startswith("0x")


def _hypercall(codes: Counter[int]) -> dict[str, object]:
    named = {RETURN_NAMES.get(code, str(code)): count for code, count in codes.items()}
    return {"calls": codes.total(), "returns": dict(sorted(named.items()))}


def _service(service: Service, statuses: Counter[int], endings: Counter[str]) -> dict[str, object]:
    never = sorted(service.statuses - statuses.keys(), reverse=True)
    return {
        "calls": statuses.total() + endings.total(),
        "statuses": {str(status): count for status, count in sorted(statuses.items(), reverse=True)},
        "endings": dict(sorted(endings.items())),
        "never": {str(status): why(service.name, status) or NOT_SEEN for status in never},
    }


def requirements(results: Iterable[Result]) -> dict[str, list[str]]:
    """The scenarios that hold a build to each requirement, and were played."""
    held: dict[str, list[str]] = defaultdict(list)
    for result in results:
        if result.verdict not in ("skipped", "error"):
            for requirement in result.requirements:
                if result.scenario not in held[requirement]:
                    held[requirement].append(result.scenario)
    return dict(sorted(held.items()))


__all__ = ["NOT_SEEN", "coverage", "requirements"]
