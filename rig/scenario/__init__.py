"""Scenarios: what is tested, as YAML programs and Python scripts, and how they are found and loaded."""
