"""Comparison of outcomes with expectations, and the deviations already known."""
