"""Errors of float32 products on the simulated GPU against float64.

    python -m benchmarks.product_errors

prints the table of `kernels/README.md`: the Euclidean norm of the difference, divided by that of the result, for
16 x 16 results of `gn.ops.matmul`. Needs g++ and no GPU.
"""

from __future__ import annotations

import numpy as np

import gpunet as gn

KERNELS = ("tiled", "mma3", "mma")
DRAWS = {"normal": "standard_normal", "uniform in [0, 1)": "random"}
SIZES = (64, 512, 2048, 8192)
ROW = "| {} | {} | {} |".format


def errors(inputs: str, k: int) -> list[float]:
    """Return the errors of NumPy's product and of those of `KERNELS`, for inputs drawn as in `DRAWS`."""
    draw = getattr(np.random.default_rng(0), DRAWS[inputs])
    a, b = (draw(shape, np.float32) for shape in ((16, k), (k, 16)))
    sim = gn.get_device("sim")
    on_sim = sim.asarray(a), sim.asarray(b)
    products = [a @ b, *(sim.to_host(gn.ops.matmul(*on_sim, kernel=kernel)) for kernel in KERNELS)]
    exact = a.astype(np.float64) @ b.astype(np.float64)
    return [float(np.linalg.norm(c - exact) / np.linalg.norm(exact)) for c in products]


def main() -> None:
    print(ROW("inputs", "k", " | ".join(("NumPy float32", *(f"`matmul_{kernel}`" for kernel in KERNELS)))))
    print("|---" * (3 + len(KERNELS)) + "|")
    for inputs in DRAWS:
        for k in SIZES:
            print(ROW(inputs, k, " | ".join(f"{error:.1e}".replace("e-0", "e-") for error in errors(inputs, k))))


if __name__ == "__main__":
    main()
