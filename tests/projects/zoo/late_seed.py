"""A seed that is set when the weights have been drawn."""

import random

weights = [random.gauss(0, 1) for _ in range(3)]
random.seed(1)
batches = [random.random() for _ in range(3)]
with open("result.txt", "w", encoding="utf-8") as file:
    file.write(f"{weights}\n{batches}\n")
