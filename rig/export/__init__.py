"""Reproducers for people who have nothing but QEMU: an image that performs a program's calls itself."""
