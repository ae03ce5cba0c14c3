"""Many builds: real QEMU releases kept in the user's cache, found again by name."""
