"""The time in what it prints, which is no result."""

import datetime
import time

start = time.time()
print(datetime.datetime.now().isoformat(), "start")
with open("result.txt", "w", encoding="utf-8") as file:
    file.write("42\n")
print(f"took {time.time() - start:.6f} s")
