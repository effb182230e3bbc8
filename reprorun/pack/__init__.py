"""Packs: a record with all that a re-run needs, in one file that opens without any network."""
