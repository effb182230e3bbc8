"""Tell how it was started, as JSON, with paths as they are."""

import json
import os
import sys

import __main__

FOUND = {}
for name in ("helper", "near", "package"):
    try:
        FOUND[name] = __import__(name).NAME
    except ModuleNotFoundError as error:
        FOUND[name] = str(error)

print(
    json.dumps(
        {
            "argv": sys.argv,
            "cwd": os.getcwd(),
            "file": __main__.__file__,
            "name": __name__,
            "path": sys.path[0],
            "imports": FOUND,
            "stdin": sys.stdin.read(),
            "flags": [sys.flags.isolated, sys.flags.no_site, sys.flags.optimize],
        }
    )
)
