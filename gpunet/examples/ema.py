"""Predict with a moving average of the weights, which varies less than the weights of the last step.

Run: `python -m gpunet.examples.ema`
"""

import tempfile
from pathlib import Path

import gpunet as gn

data = gn.data.digits()
X, y = data.X / 16, data.y
checkpoint = Path(tempfile.mkdtemp()) / "best.safetensors"

trainer = gn.Trainer(
    gn.MLP([64, 32, 10], seed=0),
    optimizer=gn.SGD(1.0),  # a learning rate so high that the weights fluctuate
    ema=0.95,  # an average over about 1 / (1 - 0.95) = 20 steps
    callbacks=[gn.Checkpoint(checkpoint, best=True)],  # validation uses the average
)
trainer.fit(X, y, epochs=6, batch_size=64, validation=0.3)
model = trainer.ema_model()

print(f"weights of the last step: accuracy {(trainer.model.predict(X) == y).mean():.1%}")
print(f"their moving average:     accuracy {(model.predict(X) == y).mean():.1%}")
best = gn.Trainer.resume(checkpoint)
print(f"best epoch: {best.epoch}; save its average with best.ema_model().save('digits.safetensors')")
