"""Play a ten-armed bandit with several values of epsilon, one record each."""

from __future__ import annotations

import csv
import os
import random
from typing import Any

from reprorun import wrap_experiment

ARMS = [0.10, 0.20, 0.25, 0.30, 0.35, 0.40, 0.45, 0.50, 0.55, 0.70]  # chances that a pull pays


class Player:
    """Estimates each arm's chance by the mean of what it has paid so far."""

    def __init__(self, arms: int, epsilon: float, rng: random.Random) -> None:
        self.pulls = [0] * arms
        self.means = [0.0] * arms
        self.epsilon = epsilon
        self.rng = rng

    def choose(self) -> int:
        """Return any arm with probability epsilon, otherwise the one that looks best."""
        if self.rng.random() < self.epsilon:
            return self.rng.randrange(len(self.means))
        return max(range(len(self.means)), key=self.means.__getitem__)

    def learn(self, arm: int, reward: int) -> None:
        """Take in what an arm has paid."""
        self.pulls[arm] += 1
        self.means[arm] += (reward - self.means[arm]) / self.pulls[arm]


@wrap_experiment(name_parameters="passed")
def bandit(ctxt: Any, epsilon: float = 0.1, steps: int = 5000, seed: int = 1) -> float:
    """Play, log the regret: what the best arm would have paid more, on average."""
    rng = random.Random(seed)
    player = Player(len(ARMS), epsilon, rng)
    regret = 0.0
    progress_csv = os.path.join(ctxt.snapshot_dir, "progress.csv")
    with open(progress_csv, "w", newline="") as file:
        progress = csv.writer(file)
        progress.writerow(["step", "regret", "best_arm_share"])
        for step in range(1, steps + 1):
            arm = player.choose()
            player.learn(arm, int(rng.random() < ARMS[arm]))
            regret += max(ARMS) - ARMS[arm]
            if step % 100 == 0 or step == steps:
                best = ARMS.index(max(ARMS))
                progress.writerow([step, f"{regret:.2f}", f"{player.pulls[best] / step:.4f}"])
    return regret


if __name__ == "__main__":
    for epsilon in (0.0, 0.01, 0.1, 0.5):
        print(f"epsilon {epsilon:<4}  regret {bandit(epsilon=epsilon):7.1f}")
