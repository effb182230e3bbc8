"""Guest side: building a wheel from a source tree, through its build backend (PEP 517).

    python -m reprorun.experiment.build_wheel ACTION SOURCE OUTPUT BACKEND [PATH...]

ACTION is `requires` (write what the backend needs beside what it declares, as a JSON list, to
OUTPUT/requires.json) or `build` (write the wheel into OUTPUT). PATH are directories of the source
that hold the backend itself. Runs in a throw-away container, never on the host.
"""

import importlib
import json
import os
import sys
from typing import Any, List


def main(argv: List[str]) -> None:
    """Do it; what the backend prints goes where ours does."""
    action, source, output, backend, paths = argv[0], argv[1], argv[2], argv[3], argv[4:]
    os.chdir(source)
    os.makedirs(output, exist_ok=True)
    sys.path[:0] = [os.path.join(source, path) for path in paths]
    sys.argv = ["setup.py"]  # what old build scripts look at
    hooks = load(backend)
    if action == "requires":
        ask = getattr(hooks, "get_requires_for_build_wheel", None)
        with open(os.path.join(output, "requires.json"), "w") as file:
            json.dump(list(ask(None)) if ask else [], file)
    else:
        hooks.build_wheel(output, None, None)


def load(backend: str) -> Any:
    """The object that holds a backend's hooks: `module`, or `module:object.attribute`."""
    module, _, attributes = backend.partition(":")
    found = importlib.import_module(module)
    for name in filter(None, attributes.split(".")):
        found = getattr(found, name)
    return found


if __name__ == "__main__":
    os.dup2(1, 2)  # of two streams, engines don't tell which came first
    main(sys.argv[1:])
