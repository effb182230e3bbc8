"""The user's number in the name of an output."""

import os

os.mkdir(f"scratch-{os.getuid()}")
with open(f"scratch-{os.getuid()}/result.txt", "w", encoding="utf-8") as file:
    file.write("42\n")
