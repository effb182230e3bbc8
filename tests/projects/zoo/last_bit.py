"""A number that is off in its last bits."""

import json
import os

off = int.from_bytes(os.urandom(4), "big") % 60000
with open("result.json", "w", encoding="utf-8") as file:
    json.dump({"loss": 1.0 + off * 2.0**-52}, file)
