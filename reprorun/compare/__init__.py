"""Comparing outputs: two files, directories or records in, verdicts out. Nothing is run."""
