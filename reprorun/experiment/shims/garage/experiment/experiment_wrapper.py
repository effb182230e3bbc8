"""`python -m garage.experiment.experiment_wrapper`: reprorun's, with the same options."""

from __future__ import annotations

from reprorun.experiment_wrapper import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
