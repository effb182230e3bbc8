"""Experiments that tests of pickling import by name."""

from __future__ import annotations

from reprorun.experiment import wrap_experiment


@wrap_experiment(snapshot_mode="gap", snapshot_gap=5)
def importable(ctxt, seed=1):
    """Says its seed."""
    return seed


def call(context, variant, resume_from_dir, resume_from_epoch):
    """Writes down how the wrapper called it."""
    import json
    import random

    told = [vars(context), variant, resume_from_dir, resume_from_epoch, random.random()]
    with open(f"{context.snapshot_dir}/called.json", "w") as file:
        json.dump(told, file)


def fail(context, variant, resume_from_dir, resume_from_epoch):
    """Fails as an experiment does."""
    raise ArithmeticError("no luck")
