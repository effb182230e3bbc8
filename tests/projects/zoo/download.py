"""Data from the network."""

import sys
import urllib.request

with urllib.request.urlopen(sys.argv[1], timeout=20) as answer:
    data = answer.read()
with open("result.txt", "wb") as file:
    file.write(data)
