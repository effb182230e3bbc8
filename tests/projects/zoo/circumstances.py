"""Everything about the run that can be varied, as the run sees it."""

import json
import os
import socket
import sys
import time

mask = os.umask(0)
os.umask(mask)
seen = {
    "hashseed": os.environ["PYTHONHASHSEED"],
    "timezone": time.timezone,
    "locale": sys.getfilesystemencoding(),
    "hostname": socket.gethostname(),
    "user": [os.getuid(), os.getgid()],
    "home": os.path.expanduser("~"),
    "umask": mask,
    "workdir": [os.getcwd(), os.path.dirname(os.path.abspath(__file__))],
    "cpus": [os.cpu_count(), len(os.sched_getaffinity(0))],
    "threads": os.environ.get("OMP_NUM_THREADS"),
    "clock": time.gmtime()[0],
    "dirorder": os.listdir("parts"),
    "extraenv": sorted(name for name in os.environ if name.startswith("VARIED_")),
    "instructions": os.environ.get("OPENBLAS_CORETYPE"),
}
with open("seen.json", "w", encoding="utf-8") as file:
    json.dump(seen, file)
os.makedirs("deep/er")
with open("deep/er/made", "w", encoding="utf-8") as file:
    file.write("x")
with open("/log/beside", "w", encoding="utf-8") as file:
    file.write("x")
os.symlink("beside", "/log/link")
with open(os.path.join(seen["home"], "written"), "w", encoding="utf-8") as file:
    file.write("x")
