"""Device trees for scenarios that hand one to the platform: the machine's own, changed a little."""

from __future__ import annotations

from collections.abc import Mapping

from rig.scenario.script import Stage


def with_rtas(stage: Stage, properties: Mapping[str, bytes]) -> bytes:
    """The blob that the machine started with, packed, with ``properties`` added to ``/rtas``."""
    import libfdt

    fdt = stage.environment.fdt
    tree = libfdt.Fdt(bytearray(stage.memory.read(fdt.start, fdt.length)))
    tree.resize(fdt.length + sum(len(name) + len(value) + 32 for name, value in properties.items()))
    rtas = tree.path_offset("/rtas")
    for name, value in properties.items():
        tree.setprop(rtas, name, value)
    tree.pack()
    return bytes(tree.as_bytearray())


__all__ = ["with_rtas"]
