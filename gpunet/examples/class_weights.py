"""Give a rare class more weight in the loss, and weight the rows of the validation data.

Run: `python -m gpunet.examples.class_weights`
"""

import numpy as np

import gpunet as gn

rng = np.random.default_rng(0)
rare = np.arange(1000) % 20 == 0
X = rng.normal(size=(1000, 2)) + 1.5 * rare[:, None]
y = np.where(rare, "fraud", "fair")
cost = np.where(rare, 10.0, 1.0)  # cost of a misclassified row
train, test = gn.data.split_indices(y, (0.5, 0.5), seed=0)

for class_weight in (None, "balanced", {"fraud": 10}):
    model = gn.MLP([2, 8, 2])
    trainer = gn.Trainer(model, loss=gn.CrossEntropyLoss(class_weight=class_weight), optimizer=gn.Adam(0.05))
    trainer.fit(X[train], y[train], epochs=10, batch_size=100, validation=(X[test], y[test], cost[test]))
    correct = model.predict(X[test]) == y[test]
    cost_per_row = np.average(~correct, weights=cost[test])
    print(f"{class_weight!s:14} {correct[rare[test]].mean():4.0%} of frauds found, mean cost {cost_per_row:.3f}")
