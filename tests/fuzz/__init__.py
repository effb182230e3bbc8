"""Fuzzing: every parser that reads bytes of somebody else's, fed with broken ones."""
