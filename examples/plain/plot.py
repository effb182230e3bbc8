"""Plot the petals of Fisher's irises, and summarize them."""

from __future__ import annotations

import csv
import json
import statistics
from collections import defaultdict
from pathlib import Path

import matplotlib.pyplot as plt

Petal = tuple[float, float]  # length and width in cm


def read_petals(file: Path) -> dict[str, list[Petal]]:
    """Return the petals of each species."""
    petals: dict[str, list[Petal]] = defaultdict(list)
    with file.open(newline="") as lines:
        for row in csv.DictReader(lines):
            petal = float(row["petal_length"]), float(row["petal_width"])
            petals[row["species"]].append(petal)
    return dict(petals)


def summarize(petals: list[Petal]) -> dict[str, float]:
    """Return the mean sizes, and how well the length predicts the width."""
    lengths, widths = zip(*petals, strict=True)
    return {
        "count": len(petals),
        "mean_length": round(statistics.fmean(lengths), 4),
        "mean_width": round(statistics.fmean(widths), 4),
        "correlation": round(statistics.correlation(lengths, widths), 4),
    }


def draw(species: dict[str, list[Petal]], file: Path) -> None:
    """Draw one colour for each species, and the straight line that fits them all best."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, petals in species.items():
        lengths, widths = zip(*petals, strict=True)
        axes.scatter(lengths, widths, label=name, s=16)
    lengths, widths = zip(*(petal for petals in species.values() for petal in petals), strict=True)
    line = statistics.linear_regression(lengths, widths)
    axes.axline((0, line.intercept), slope=line.slope, color="grey", linewidth=1, zorder=0)
    axes.set(xlabel="petal length (cm)", ylabel="petal width (cm)", title="Fisher's irises")
    axes.set(xlim=(0, 7.5), ylim=(0, 2.8))
    axes.legend()
    figure.savefig(file, dpi=150)


def main() -> None:
    """Read, summarize, draw."""
    species = read_petals(Path(__file__).with_name("iris.csv"))
    summary = {name: summarize(petals) for name, petals in species.items()}
    Path("summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    draw(species, Path("plot.png"))
    for name, values in summary.items():
        print(f"{name:<12} {values['mean_length']:.2f} x {values['mean_width']:.2f} cm")


if __name__ == "__main__":
    main()
