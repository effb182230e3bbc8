"""Numbers that depend on the processor's generation and on the number of threads."""

import numpy as np
import scipy.linalg
import scipy.special

rng = np.random.default_rng(1)
a, b = rng.standard_normal((300, 300)), rng.standard_normal((300, 300))
np.savez(
    "result.npz",
    product=a @ b,
    single=a.astype("f4") @ b.astype("f4"),
    singular=np.linalg.svd(a, compute_uv=False),
    solved=scipy.linalg.solve(a, b),
    eigen=scipy.linalg.eigvalsh(a + a.T),
    functions=np.exp(a) + np.sin(a) + np.tanh(b) + np.log(np.abs(a)),
    special=scipy.special.gammaln(np.abs(a)) + scipy.special.erf(b),
    summed=a.sum() + np.dot(a.ravel(), b.ravel()),
)
