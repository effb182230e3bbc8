"""A dict that is saved in another order each time."""

import json
import random

items = [(f"key{n}", n) for n in range(50)]
random.shuffle(items)
with open("result.json", "w", encoding="utf-8") as file:
    json.dump(dict(items), file)
