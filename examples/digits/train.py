"""Train a small neural network on scikit-learn's handwritten digits."""

from __future__ import annotations

import argparse
import csv
import os
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from reprorun import wrap_experiment

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


class Network:
    """One hidden layer of rectified units, then a softmax over the ten digits."""

    def __init__(self, inputs: int, hidden: int, classes: int, rng: np.random.Generator) -> None:
        self.w1: Array = rng.normal(0.0, np.sqrt(2.0 / inputs), (inputs, hidden))
        self.b1: Array = np.zeros(hidden)
        self.w2: Array = rng.normal(0.0, np.sqrt(2.0 / hidden), (hidden, classes))
        self.b2: Array = np.zeros(classes)

    def forward(self, images: Array) -> tuple[Array, Array]:
        """Return what the hidden units say, and each digit's probability."""
        hidden = np.maximum(images @ self.w1 + self.b1, 0.0)
        scores = hidden @ self.w2 + self.b2
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        return hidden, scores / scores.sum(axis=1, keepdims=True)

    def step(self, images: Array, labels: Labels, rate: float) -> float:
        """Take one step of gradient descent; return the mean cross-entropy before it."""
        hidden, probabilities = self.forward(images)
        rows = np.arange(len(labels))
        loss = -np.log(probabilities[rows, labels]).mean()

        d_scores = probabilities
        d_scores[rows, labels] -= 1.0
        d_scores /= len(labels)
        d_hidden = (d_scores @ self.w2.T) * (hidden > 0.0)

        self.w2 -= rate * hidden.T @ d_scores
        self.b2 -= rate * d_scores.sum(axis=0)
        self.w1 -= rate * images.T @ d_hidden
        self.b1 -= rate * d_hidden.sum(axis=0)
        return float(loss)

    def accuracy(self, images: Array, labels: Labels) -> float:
        """Return the share of images that are read right."""
        _, probabilities = self.forward(images)
        return float((probabilities.argmax(axis=1) == labels).mean())


@wrap_experiment
def digits(
    ctxt: Any,
    seed: int = 1,
    hidden: int = 64,
    epochs: int = 30,
    batch_size: int = 32,
    rate: float = 0.1,
) -> None:
    """Train, log each epoch, save the weights."""
    rng = np.random.default_rng(seed)
    pixels, targets = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        pixels / 16.0, targets, test_size=0.25, random_state=seed, stratify=targets
    )
    network = Network(train_x.shape[1], hidden, classes=10, rng=rng)

    progress_csv = os.path.join(ctxt.snapshot_dir, "progress.csv")
    with open(progress_csv, "w", newline="") as file:
        progress = csv.writer(file)
        progress.writerow(["epoch", "loss", "accuracy"])
        for epoch in range(1, epochs + 1):
            order = rng.permutation(len(train_x))
            batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
            losses = [network.step(train_x[batch], train_y[batch], rate) for batch in batches]
            loss, accuracy = sum(losses) / len(losses), network.accuracy(test_x, test_y)
            progress.writerow([epoch, f"{loss:.6f}", f"{accuracy:.6f}"])
            file.flush()
            if epoch % 5 == 0 or epoch == epochs:
                print(f"epoch {epoch:3d}  loss {loss:.4f}  accuracy {accuracy:.4f}")

    np.savez(os.path.join(ctxt.snapshot_dir, "weights.npz"), **vars(network))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=30)
    arguments = parser.parse_args()
    digits(seed=arguments.seed, epochs=arguments.epochs)
