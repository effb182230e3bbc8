"""A sum whose parts are as many as there are threads: each number of them rounds otherwise."""

import os

threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count())
numbers = [1.0 / (n + 1) for n in range(100_003)]
parts = [sum(numbers[n::threads]) for n in range(threads)]
with open("result.txt", "w", encoding="utf-8") as file:
    file.write(repr(sum(parts)))
