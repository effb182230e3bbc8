"""Threads that count together, and forget to lock."""

import threading

count = 0


def work() -> None:
    global count
    for _ in range(10_000):
        before = count
        for _ in range(200):
            pass
        count = before + 1


threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
with open("result.txt", "w", encoding="utf-8") as file:
    file.write(f"{count}\n")
