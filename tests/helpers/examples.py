"""The programs of gpunet/examples, and checks of their output."""

import contextlib
import io
import pkgutil
import re
import runpy
from collections.abc import Callable

import gpunet.examples

NAMES = [module.name for module in pkgutil.iter_modules(gpunet.examples.__path__) if module.name != "__main__"]


def run(name: str) -> list[str]:
    """Run an example like `python -m`, on the current device; return the lines of its output."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        runpy.run_module(f"gpunet.examples.{name}", run_name="__main__")
    return out.getvalue().splitlines()


def number(label: str, line: str) -> float:
    """Return the number after a label in a line."""
    (found,) = re.findall(rf"{re.escape(label)}\s*\[?(-?[\d.,]*\d(?:e-?\d+)?)", line)
    return float(found.replace(",", ""))


def number_before(label: str, line: str) -> float:
    """Return the number before a label in a line."""
    (found,) = re.findall(rf"(-?[\d.,]+){re.escape(label)}", line)
    return float(found.replace(",", ""))


def accumulation(whole: str, parts: str, difference: str) -> None:
    """Four accumulated batches give the same model as one large batch, with less than half the memory."""
    assert number(": ", whole) == number(": ", parts) == 20
    assert number("buffers of", parts) < number("buffers of", whole) / 2
    assert number("accuracy", parts) == number("accuracy", whole) > 80
    assert number("the two models:", difference) < 1e-5


def class_weights(unweighted: str, *weighted: str) -> None:
    """Class weights find more frauds and reduce the cost of errors."""
    for line in weighted:
        assert number_before("% of frauds", line) > number_before("% of frauds", unweighted) + 40
        assert number("mean cost", line) < number("mean cost", unweighted)


def counts(mean: str, median: str, quantile: str, stopped: str) -> None:
    """Half of the counts are below the median, 90 % below the 0.9 quantile; the AUC stops the training."""
    assert number("rmse", mean) == min(number("rmse", line) for line in (mean, median, quantile))
    assert abs(number_before("% of the counts", median) - 50) < 5
    assert abs(number_before("% of the counts", quantile) - 90) < 5
    assert number("AUC", stopped) > 0.8
    assert number("epochs:", stopped) < 30


def ema(last: str, average: str, best: str) -> None:
    """The averaged weights are better than the last ones."""
    assert number("accuracy", average) > number("accuracy", last) + 1
    assert 1 <= number("best epoch:", best) <= 6


def entity_embeddings(as_numbers: str, embedded: str, vector: str) -> None:
    """Embedding a category is better than using its index as a number."""
    assert number("rows", embedded) > number("rows", as_numbers) + 0.2
    assert number("unknown district:", vector) > 0


def find_lr(found: str, picture: str, before: str, suggested: str) -> None:
    """The suggested learning rate is better than the initial one."""
    assert f"lr={number('suggestion:', found)}:" in suggested
    assert number("accuracy", suggested) > number("accuracy", before) + 20
    assert picture.endswith("find_lr.png")


def freezing(line: str) -> None:
    """The frozen layer does not change; the others do."""
    assert line.endswith("first layer unchanged: True")
    assert number("accuracy", line) > 0.6


def regression(*lines: str) -> None:
    """The validation loss decreases, and the prediction is close to sin(1)."""
    *epochs, values = lines
    assert number("val_loss", epochs[-1]) < number("val_loss", epochs[0])
    assert number("val_r2", epochs[-1]) > 0.8
    at_zero, at_half = map(float, re.findall(r"-?\d\.\d+", values.partition("]")[0].partition("[")[2]))
    assert abs(at_zero) < 0.3
    assert abs(at_half - 0.84) < 0.3


def streaming(from_file: str, with_noise: str) -> None:
    """Training works from a memory-mapped file and on generated batches."""
    for line, epoch in ((from_file, 5), (with_noise, 10)):
        assert number("'epoch':", line) == epoch
        assert number("'val_accuracy':", line) > 0.85


SHOWS: dict[str, Callable[..., None]] = {
    claim.__name__: claim
    for claim in (
        accumulation,
        class_weights,
        counts,
        ema,
        entity_embeddings,
        find_lr,
        freezing,
        regression,
        streaming,
    )
}
