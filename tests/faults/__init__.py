"""Faults injected on purpose; `python -m tests.faults --help`."""
