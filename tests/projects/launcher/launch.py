"""Launchers that use run_experiment; the first argument says which."""

import hashlib
import json
import os
import subprocess
import sys

from reprorun import run_experiment

LARGE = bytes(range(256)) * 2000  # 512,000 bytes: more than an argument of a command may hold


def save(config, **values):
    """Write values into the log directory."""
    with open(os.path.join(config.snapshot_dir, "result.json"), "w") as file:
        json.dump(values, file)


def closure():
    """A function that only exists in here, with a variable around it."""
    factor = 3

    def experiment(config, variant, resume_from_dir, resume_from_epoch):
        product = factor * variant["x"]
        print("the product is", product)
        with open("in-the-tree.txt", "w") as file:
            file.write(str(product))
        save(
            config,
            product=product,
            resume=[resume_from_dir, resume_from_epoch],
            mode=config.snapshot_mode,
            gap=config.snapshot_gap,
        )

    run_experiment(
        experiment,
        exp_prefix="my_prefix",
        variant={"x": 14},
        env={"GREETING": "it's $HOME"},
        seed=7,
        snapshot_mode="gap",
        snapshot_gap=5,
        resume_from_dir="an old run",
        resume_from_epoch="last",
    )


def batch():
    """Two tasks, one of them with options of its own, one after the other."""

    def first(config, variant, *resume):
        save(config, variant=variant, greeting=os.environ.get("GREETING"))

    def second(config, variant, *resume):
        save(config, variant=variant, greeting=os.environ.get("GREETING"))

    tasks = [first, {"method_call": second, "exp_name": "named", "variant": {"x": 2}}]
    run_experiment(batch_tasks=tasks, variant={"x": 1}, env={"GREETING": "hello"})


def cpu():
    """Tell what hides the GPUs."""

    def experiment(config, *rest):
        names = ("CUDA_VISIBLE_DEVICES", "REPRORUN_FORCE_CPU")
        save(config, **{name: os.environ.get(name) for name in names})

    run_experiment(experiment, exp_name="cpu", force_cpu=True)


def large():
    """Carry more than a command line holds, in the function and in the variant."""
    carried = LARGE

    def experiment(config, variant, *rest):
        both = (carried, variant["data"])
        save(config, digests=[hashlib.sha256(data).hexdigest() for data in both])

    run_experiment(experiment, exp_name="large", variant={"data": LARGE[::-1]})


def failing():
    """Tell what a failing experiment raises here."""

    def experiment(*given):
        sys.exit(7)

    try:
        run_experiment(experiment, exp_name="failing")
    except subprocess.CalledProcessError as error:
        print("raised with", error.returncode)


def dry():
    """Start nothing."""
    run_experiment(print, exp_name="dry", dry=True)


def local():
    """Run without a container."""

    def experiment(config, variant, *rest):
        print("without a container")
        save(config, variant=variant, cwd=os.getcwd(), prefix=sys.prefix)

    run_experiment(experiment, exp_name="local", variant={"x": 1}, **OPTIONS)


def elsewhere():
    """Run without a container, on the Python that launches."""

    def experiment(config, variant, *rest):
        save(config, prefix=sys.prefix)

    run_experiment(experiment, exp_name="elsewhere", python_command=sys.executable, engine="local")


def own():
    """Run a module of the repository in place of the wrapper."""
    run_experiment(print, exp_name="own", script="own_wrapper", python_command="python -W error")


OPTIONS = {"engine": "local"} if "engine=local" in sys.argv else {}

if __name__ == "__main__":
    globals()[sys.argv[1]]()
