"""Fit a curve in a few lines, with loss and optimizer by name; print the history and call the model.

Run: `python -m gpunet.examples.regression`
"""

import numpy as np

import gpunet as gn

rng = np.random.default_rng(0)
X = rng.uniform(-2, 2, (512, 1)).astype(np.float32)
y = np.sin(2 * X) + 0.1 * rng.normal(size=X.shape)

model = gn.MLP([1, 32, 32, 1], activation="tanh")
history = gn.Trainer(model, loss="huber", optimizer="rmsprop").fit(X, y, epochs=20, validation=0.25)
for row in [*history][4::5]:
    print(f"epoch {row['epoch']:2}  val_loss {row['val_loss']:.4f}  val_r2 {row['val_r2']:.3f}")

x = model.device.asarray([[0.0], [0.5]], model.dtype)
print("sin(2x) at 0 and 0.5:", model(x).ravel())
