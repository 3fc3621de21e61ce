"""Train on a memory-mapped file, then on batches that are generated on demand.

Run: `python -m gpunet.examples.streaming`
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import gpunet as gn


class Noisy:
    """Batches of digits, as from a DataLoader, with new noise in each epoch."""

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for rows in np.array_split(rng.permutation(1500), 48):
            yield X[rows] + rng.normal(0, 0.1, (len(rows), 64)), y[rows]


rng, data = np.random.default_rng(0), gn.data.digits()
X, y = data.X / 16, data.y
trainer = gn.Trainer(gn.MLP([64, 64, 10], dropout=0.1, seed=0), optimizer=gn.Adam(0.003))
with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
    np.save(Path(folder) / "X.npy", X[:1500])
    mapped = np.load(Path(folder) / "X.npy", mmap_mode="r")
    print("from the file:", trainer.fit(mapped, y[:1500], epochs=5, validation=0.1).last)
print("with noise:", trainer.fit(Noisy(), epochs=5, validation=(X[1500:], y[1500:])).last)
