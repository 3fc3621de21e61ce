"""Plots of trainings: curves over epochs or learning rates, and confusion matrices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.arguments import shortened
from gpunet.errors import MissingPackageError, StateError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NOT_DRAWN = {"epoch", "lr", "seconds"}  # columns that do not measure the model
_LEGIBLE = 30  # maximum classes whose names and counts are legible in a panel
_ACROSS = 3  # panels per row
_LONGEST_NAME = 40  # characters of a history's name; its end is kept
_LONGEST_CLASS = 16  # characters of a class's name; its start is kept

Curves = Mapping[str, Sequence[float]]
"""The columns of a history by name, a number per epoch."""

Confusion = tuple[np.ndarray, Sequence[str]]
"""A result of `metrics.confusion_matrix`, and the names of the classes."""


def figure(histories: Mapping[str, Curves], confusions: Mapping[str, Confusion] | None = None) -> Figure:
    """Return a figure with a panel for the loss and for each metric, followed by the confusion matrices.

    Args:
        histories: the columns of each history by its name in the legend; use "" for a single one.
        confusions: confusion matrices by name.

    Raises:
        StateError: the histories are empty.
        MissingPackageError: matplotlib is not installed.
    """
    measured = dict.fromkeys(name.removeprefix("val_") for history in histories.values() for name in history)
    columns = [name for name in measured if name not in _NOT_DRAWN]
    if not columns:
        raise StateError("the history has nothing to plot; train at least one epoch first.")
    confusions = confusions or {}
    panels = len(columns) + len(confusions)
    across = min(panels, _ACROSS)
    down = math.ceil(panels / across)
    picture = _empty(5 * across, (4.5 if confusions else 3.5) * down)
    axes = [picture.add_subplot(down, across, panel + 1) for panel in range(panels)]
    for name, place in zip(columns, axes, strict=False):
        draw_column(place, name, histories)
    _draw_legend(picture, axes[: len(columns)])
    for (name, (counts, classes)), place in zip(confusions.items(), axes[len(columns) :], strict=True):
        draw_confusion_matrix(place, counts, classes)
        title = f"confusion matrix\n{shortened(name, -_LONGEST_NAME)}".strip()
        place.set_title(title, parse_math=False)  # a folder's name may have dollar signs
    return picture


def _draw_legend(picture: Figure, panels: Sequence[Any]) -> None:
    """Draw one legend for all panels, below them, where it cannot cover a curve."""
    lines = {line.get_label(): line for axes in panels for line in axes.lines}
    columns = 2 if len(lines) > 2 else len(lines)
    names = [shortened(label, -_LONGEST_NAME) for label in lines]
    legend = picture.legend(list(lines.values()), names, loc="outside lower center", ncols=columns)
    for text in legend.get_texts():
        text.set_parse_math(False)


def rates_figure(rates: np.ndarray, losses: np.ndarray, smoothed: np.ndarray, suggestion: float | None) -> Figure:
    """Return a figure of a range test: raw and smoothed losses over the rates, and the suggested rate, if any.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    picture = _empty(6, 4)
    axes = picture.add_subplot()
    axes.plot(rates, losses, color="lightgray", label="loss of a batch")
    axes.plot(rates, smoothed, label="smoothed")
    if suggestion is not None:
        axes.axvline(suggestion, color="C1", linestyle="--", label=f"suggestion: {suggestion:.2g}")
    low, high = smoothed.min(), smoothed.max()
    margin = 0.1 * (high - low) or 1
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(low - margin, high + margin))
    axes.legend()
    return picture


def _empty(width: float, height: float) -> Figure:
    """Return an empty figure; the size is in inches."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingPackageError("plot needs matplotlib: pip install 'matplotlib>=3.8'") from None
    return Figure(figsize=(width, height), layout="constrained")


def draw_column(axes: Any, name: str, histories: Mapping[str, Curves]) -> None:
    """Draw the training and validation curves of a column into matplotlib axes; each history has its own colour.

    Args:
        axes: matplotlib axes.
        name: the column, such as "loss"; histories without it are skipped.
        histories: the histories by name in the legend.
    """
    for number, (of, history) in enumerate(histories.items()):
        parts = ((name, "training", "--"), (f"val_{name}", "validation", "-"))
        for index, (column, part, style) in enumerate(parts):
            if column in history:
                own = {"color": f"C{number}", "linestyle": style} if len(histories) > 1 else {"color": f"C{index}"}
                epochs = range(1, len(history[column]) + 1)
                axes.plot(epochs, history[column], marker=".", label=f"{part} {of}".strip(), **own)
    axes.set(xlabel="epoch", title=name)
    axes.xaxis.get_major_locator().set_params(integer=True)


def draw_confusion_matrix(axes: Any, counts: np.ndarray, classes: Sequence[str]) -> None:
    """Draw a confusion matrix into matplotlib axes: rows are the true class, columns the predicted one.

    Names and counts are shown for up to 30 classes, only colours for more.

    Args:
        axes: matplotlib axes.
        counts: a result of `metrics.confusion_matrix`, (classes, classes).
        classes: the names of the classes.
    """
    axes.imshow(counts, cmap="Blues")
    axes.set(xlabel="predicted", ylabel="true")
    if len(classes) > _LEGIBLE:
        return
    names = [shortened(name, _LONGEST_CLASS) for name in classes]
    turned = "vertical" if max(map(len, names)) > 3 else "horizontal"
    axes.set_xticks(range(len(names)), names, rotation=turned, parse_math=False)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    size = min(10, 160 / len(classes))
    for (true, predicted), count in np.ndenumerate(counts):
        color = "white" if count > counts.max() / 2 else "black"
        axes.text(predicted, true, str(count), ha="center", va="center", color=color, fontsize=size)
