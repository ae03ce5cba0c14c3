"""Benchmarks: medians with spread, and ratios within one run; nothing here passes or fails."""
