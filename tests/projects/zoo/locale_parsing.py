"""Text read in the encoding of the locale."""

with open("cities.csv", errors="replace") as file:
    rows = [line.strip().split(";") for line in file]
with open("result.txt", "w", encoding="utf-8") as file:
    file.write(" ".join(str(len(name.encode())) for name, _ in rows))
