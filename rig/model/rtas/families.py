"""The RTAS services that the model knows, collected from one module per family.

A family module describes its services in ``SERVICES`` and may describe host actions in ``HOST_ACTIONS``
(:mod:`rig.model.host`).  :mod:`rig.model.rtas.clock` is the one to imitate; adding a family is one line here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from rig.model.rtas import (
    clock,
    connector,
    console,
    cpu,
    ddw,
    drc,
    eeh,
    events,
    fadump,
    fwnmi,
    msi,
    nvram,
    pci,
    power,
    sysparm,
    vio,
    xics,
)
from rig.model.rtas.service import Service


class Family(Protocol):
    """A module of services that belong together."""

    SERVICES: tuple[Service, ...]


#: every family, in the order of LoPAR's chapters
FAMILIES: tuple[Family, ...] = (
    nvram,
    clock,
    console,
    sysparm,
    vio,
    power,
    cpu,
    pci,
    msi,
    xics,
    eeh,
    ddw,
    events,
    drc,
    connector,
    fwnmi,
    fadump,
)


def collect(families: Iterable[Family]) -> Mapping[str, Service]:
    """Services by name; raises :class:`ValueError` when two families describe the same one."""
    services: dict[str, Service] = {}
    for family in families:
        for service in family.SERVICES:
            if service.name in services:
                raise ValueError(f"two families describe the RTAS service {service.name}: keep one")
            services[service.name] = service
    return services


SERVICES = collect(FAMILIES)
