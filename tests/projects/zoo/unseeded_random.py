"""Random numbers that no seed decides."""

import random

with open("result.txt", "w", encoding="utf-8") as file:
    file.write(f"{random.random()}\n")
