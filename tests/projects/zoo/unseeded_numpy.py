"""The same from numpy, by its old interface and the new one."""

import numpy as np

np.save("old.npy", np.random.standard_normal(8))
np.save("new.npy", np.random.default_rng().standard_normal(8))
