"""The reference model: pure Python, no I/O, every rule with its source."""
