"""A record's Dockerfile, kept in the cache: all runs of an image have the same.

To start the template engine takes longer than all else that is done for a run whose image is there.
"""

from __future__ import annotations

import os

from reprorun import files, render
from reprorun.model import Plan
from reprorun.notes import read_note, write_note

SHELF = "dockerfiles"  # of the cache


def dockerfile_of(plan: Plan) -> str:
    """The Dockerfile of a plan's two images, as its record keeps it."""
    path = os.path.join(files.cache_directory(SHELF), _key(plan))
    kept = read_note(path)
    if kept is not None:
        return kept.decode()
    text = render.whole_dockerfile(plan)
    write_note(path, text.encode())
    return text


def _key(plan: Plan) -> str:
    """All that the text is made from."""
    values = (plan.environment, render.environment_variables(plan.environment), plan.githash)
    told = repr((*values, render.run_labels(plan)))  # JSON has no names that are not UTF-8
    return files.digest_of("dockerfile 2", render.dockerfile_recipe(), told)
