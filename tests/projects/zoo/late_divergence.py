"""A model that goes its own way after epoch 3."""

import csv
import random

rng, weight = random.Random(3), 1.0
with open("progress.csv", "w", encoding="utf-8", newline="") as file:
    table = csv.writer(file)
    table.writerow(["epoch", "loss"])
    for epoch in range(1, 9):
        noise = random.random() if epoch > 3 else rng.random()
        weight -= 0.1 * weight * noise
        table.writerow([epoch, weight])
