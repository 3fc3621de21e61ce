"""Keep a moving average of the weights, and predict with it: it is steadier than the weights of the last step.

Run it by `python -m gpunet.examples.ema`.
"""

import tempfile
from pathlib import Path

import gpunet as gn

data = gn.data.digits()
X, y = data.X / 16, data.y
checkpoint = Path(tempfile.mkdtemp()) / "best.safetensors"

trainer = gn.Trainer(
    gn.MLP([64, 32, 10], seed=0),
    optimizer=gn.SGD(1.0),  # a rate at which the weights still jump about
    ema=0.95,  # an average over some 1 / (1 - 0.95) = 20 steps
    callbacks=[gn.Checkpoint(checkpoint, best=True)],  # the best epoch by the average, which validation uses
)
trainer.fit(X, y, epochs=6, batch_size=64, validation=0.3)
model = trainer.ema_model()

print(f"weights of the last step: {(trainer.model.predict(X) == y).mean():.1%} right")
print(f"their moving average:     {(model.predict(X) == y).mean():.1%} right")
best = gn.Trainer.resume(checkpoint)
print(f"best epoch: {best.epoch}; to keep its average: best.ema_model().save('digits.safetensors')")
