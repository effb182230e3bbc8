"""A wrapped function that writes down what it was called with."""

import json
import os
import sys

from reprorun import wrap_experiment


@wrap_experiment(name_parameters="passed")
def train(ctxt, lr=0.1, layers=(8, 8), label="plain"):
    """Write the arguments to a file and to stdout."""
    called = {"lr": lr, "layers": list(layers), "label": label}
    with open(os.path.join(ctxt.snapshot_dir, "called.json"), "w") as file:
        json.dump({**called, "mode": ctxt.snapshot_mode}, file)
    print(json.dumps(called))


if __name__ == "__main__":
    for number in [float(text) for text in sys.argv[1:]] or [0.1]:
        train(lr=number)
