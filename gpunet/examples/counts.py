"""Predict counts, their median and a high quantile; then train a classifier with early stopping on its AUC.

Run: `python -m gpunet.examples.counts`
"""

import numpy as np

import gpunet as gn

rng = np.random.default_rng(0)
angle = rng.uniform(0, 2 * np.pi, 400)  # the hour of the day
X, visits = np.column_stack([np.sin(angle), np.cos(angle)]), rng.poisson(6 + 4 * np.sin(angle))

for loss in (gn.PoissonNLLLoss(), gn.L1Loss(), gn.QuantileLoss(0.9)):
    trainer = gn.Trainer(
        gn.MLP([2, 16, 1], seed=0),
        loss=loss,
        optimizer=gn.Adam(0.02),
        metrics={"rmse": gn.metrics.root_mean_squared_error},
    )
    trainer.fit(X, visits, epochs=30)
    below = (visits <= trainer.predict(X)).mean()
    rmse = trainer.evaluate(X, visits)["rmse"]
    print(f"{loss}: rmse {rmse:.2f}, {below:.0%} of the counts are at most the prediction")

stopping = gn.EarlyStopping(5, monitor="val_auc")
trainer = gn.Trainer(gn.MLP([2, 16, 2]), metrics={"auc": gn.metrics.roc_auc}, callbacks=[stopping])
trainer.fit(X, visits > 6, epochs=30, validation=0.2)
print(f"classifier for counts above 6: best AUC {stopping.best:.3f}, epochs: {len(trainer.history)}")
