"""A real QEMU as a target: start it, reach it by monitor, debugger, console and memory, and end it."""
