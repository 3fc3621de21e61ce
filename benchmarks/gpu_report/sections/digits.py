"""Train on the digits on the device and on the CPU, and compare the results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

import gpunet as gn
from benchmarks.gpu_report.section import Row, Section, Setup, markdown_table
from gpunet.data import Standardizer, digits, split_indices

LOSS_TOLERANCE, ACCURACY_TOLERANCE = 0.02, 0.01  # rounding errors grow with every step


def measure(setup: Setup) -> Iterator[list[Row]]:
    """Yield the loss of each epoch and the test accuracy, for both devices."""
    rows, epochs = (256, 1) if setup.simulated else (None, 10)
    results = [train(device, rows, epochs) for device in ("cpu", setup.device)]
    (cpu_losses, cpu_accuracy), (losses, accuracy) = results
    loss_error = float(np.max(np.abs(np.subtract(losses, cpu_losses)) / cpu_losses))
    accuracy_error = abs(accuracy - cpu_accuracy)
    ok = loss_error <= LOSS_TOLERANCE and accuracy_error <= ACCURACY_TOLERANCE
    fault = "" if ok else f"losses differ by {loss_error:.1%}, the accuracy by {accuracy_error:.4f}"
    yield [
        {"device": device, "losses": losses, "accuracy": accuracy, "fault": fault if device != "cpu" else ""}
        for device, (losses, accuracy) in zip(("cpu", setup.device), results, strict=True)
    ]


def train(device: str, rows: int | None, epochs: int) -> tuple[list[float], float]:
    """Train on the first `rows` rows; return the loss of each epoch and the test accuracy."""
    data = digits()
    rest, test = (data.take(part) for part in split_indices(data.y, (0.8, 0.2), seed=0))
    model = gn.MLP([64, 128, 10], dropout=0.1, seed=0).to(device)
    model.input_scaler = Standardizer.fit(rest.X)
    trainer = gn.Trainer(model, optimizer=gn.AdamW(1e-3))
    history = trainer.fit(rest.X[:rows], rest.y[:rows], epochs=epochs, batch_size=32)
    return [float(loss) for loss in history["loss"]], float(trainer.evaluate(test.X, test.y)["accuracy"])


def show(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a table of the losses, and the accuracies."""
    yield from markdown_table(
        ("epoch", *(f"loss on {row['device']}" for row in rows)),
        (
            (epoch, *(f"{loss:.6f}" for loss in losses))
            for epoch, losses in enumerate(zip(*(row["losses"] for row in rows), strict=True), 1)
        ),
    )
    yield ""
    yield from (f"Accuracy on {row['device']}: {row['accuracy']:.4f}. {row['fault']}".strip() + "\n" for row in rows)


SECTION = Section("Digits from end to end", 25, measure, show)
