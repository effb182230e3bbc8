"""Comes out the same, whatever is changed around it."""

import json
import random

rng = random.Random(7)
with open("result.json", "w", encoding="utf-8") as file:
    json.dump({"score": sum(rng.random() for _ in range(1000))}, file)
print("done")
