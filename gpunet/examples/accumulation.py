"""Accumulate gradients: sum those of four batches of 64 rows for one update, in the memory of one batch.

Run: `python -m gpunet.examples.accumulation`
"""

import numpy as np

import gpunet as gn

data = gn.data.digits()
X, y = data.X[:512] / 16, data.y[:512]

outputs: list[np.ndarray] = []
for accumulate in (1, 4):
    trainer = gn.Trainer(gn.MLP([64, 32, 10], dropout=0.1, seed=0), optimizer=gn.AdamW(5e-3), accumulate=accumulate)
    trainer.fit(X, y, epochs=10, batch_size=256 // accumulate)
    buffers = f"buffers of {trainer.explain().arena_bytes:,} bytes"
    accuracy = trainer.evaluate(X, y)["accuracy"]
    print(f"accumulate={accumulate}: {trainer.optimizer.steps} updates, {buffers}, accuracy {accuracy:.1%}")
    outputs.append(trainer.model.outputs(X))
print(f"maximum difference between the outputs of the two models: {np.abs(outputs[0] - outputs[1]).max():.1g}")
