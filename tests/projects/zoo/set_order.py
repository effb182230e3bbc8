"""The order of a set of texts."""

with open("result.txt", "w", encoding="utf-8") as file:
    file.write(" ".join({"cat", "dog", "cow", "hen", "pig", "fox"}))
