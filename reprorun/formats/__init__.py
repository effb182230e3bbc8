"""Readers of the files that say what packages an experiment needs: text in, values out.

They read files below the repository's root and do nothing else: no file is imported or run, no
index is asked. `reprorun.formats.read.read` is the way in.
"""
