"""Where objects lie in memory."""


class Node:
    """Hashed by its address, as all that say nothing else."""


nodes = [Node() for _ in range(20)]
with open("result.txt", "w", encoding="utf-8") as file:
    file.write(" ".join(str(id(node) // 4096 % 1009) for node in nodes[:3]) + "\n")
    file.write(" ".join(str(hash(node) // 256 % 1013) for node in nodes[:3]) + "\n")
