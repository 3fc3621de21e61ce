"""Fine-tune: train on digits 0 to 4, freeze the first layer, and train the others on a few of the digits 5 to 9.

Run: `python -m gpunet.examples.freezing`
"""

import numpy as np

import gpunet as gn

digits = gn.data.digits()
X, y = digits.X / 16, digits.y
old, few = y < 5, (y >= 5) & (np.arange(len(y)) % 10 == 0)
test = (y >= 5) & ~few

model = gn.MLP([64, 64, 32, 5])
gn.Trainer(model, optimizer=gn.Adam(0.01)).fit(X[old], y[old], epochs=5)
first = gn.to_host(model[0].params["weight"]).copy()

model.freeze("0.*")
groups = {"1.*": {"lr": 0.003}, "*.bias": {"weight_decay": 0.0}}  # other settings are the optimizer's
trainer = gn.Trainer(model, optimizer=gn.AdamW(0.01, groups=groups))
trainer.fit(X[few], y[few] - 5, epochs=30)

same = np.array_equal(first, gn.to_host(model[0].params["weight"]))
accuracy = trainer.evaluate(X[test], y[test] - 5)["accuracy"]
print(f"accuracy {accuracy:.3f} on {test.sum()} digits, trained on {few.sum()}; first layer unchanged: {same}")
