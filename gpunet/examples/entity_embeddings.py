"""Train on numbers and categories: compare entity embeddings with categories as plain numbers.

Run: `python -m gpunet.examples.entity_embeddings`
"""

import numpy as np

import gpunet as gn

rng = np.random.default_rng(0)
area, age = rng.uniform(30, 150, 1000), rng.uniform(0, 100, 1000)
districts, kinds = [f"district {i}" for i in range(40)], ["flat", "house", "loft"]
district, kind = rng.integers(40, size=1000), rng.integers(3, size=1000)
price = area * rng.uniform(2, 8, 40)[district] + np.array([0, 150, 60])[kind] - age + rng.normal(0, 10, 1000)
X = np.column_stack([area, age, district, kind])  # the last two are indices of `districts` and `kinds`
train, test = np.split(rng.permutation(1000), [800])

embedding = gn.EntityEmbedding(numbers=2, categories=[len(districts), len(kinds)], rng=0)
(features,) = embedding.output_shape((4,))
embedded = gn.Sequential(embedding, gn.MLP([features, 32, 1]))
for name, model in {"as numbers": gn.MLP([4, 32, 1]), "embedded": embedded}.items():
    model.input_scaler = gn.data.Standardizer.fit(X[train], category_columns=model.category_columns)
    model.target_scaler = gn.data.Standardizer.fit(price[train])
    trainer = gn.Trainer(model, loss="mse", optimizer=gn.Adam(0.02))
    trainer.fit(X[train], price[train], epochs=15, batch_size=100)
    print(f"categories {name}: R² on the test rows {trainer.evaluate(X[test], price[test])['r2']:.3f}")

vectors = dict(zip(["unknown", *kinds], gn.to_host(embedding.params["weight1"]), strict=True))
price = embedded.predict([[80, 20, -1, 0]]).round()
print("vector of a loft:", vectors["loft"].round(2), "| price in an unknown district:", price)
