"""The order in which a directory lists its files."""

import os
import pathlib

with open("result.txt", "w", encoding="utf-8") as file:
    file.write(" ".join(os.listdir("parts")) + "\n")
    file.write(" ".join(path.name for path in pathlib.Path("parts").iterdir()))
