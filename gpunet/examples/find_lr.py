"""Find a learning rate with the range test, which increases the rate at each step until the loss diverges.

Run: `python -m gpunet.examples.find_lr`
"""

import tempfile
from pathlib import Path

import gpunet as gn

data = gn.data.digits()
X, y = data.X / 16, data.y
picture = Path(tempfile.gettempdir()) / "find_lr.png"

trainer = gn.Trainer(gn.MLP([64, 64, 10], seed=0), optimizer=gn.SGD(1e-3, momentum=0.9))
found = trainer.find_lr(X, y)
print(found)
found.plot(picture)
print(f"plot: {picture}")

for lr in (trainer.optimizer.lr, found.suggestion):
    trainer = gn.Trainer(gn.MLP([64, 64, 10], seed=0), optimizer=gn.SGD(lr, momentum=0.9))
    history = trainer.fit(X, y, epochs=3, validation=0.2)
    print(f"lr={lr:.2g}: accuracy {history.last['val_accuracy']:.1%} after {len(history)} epochs")
