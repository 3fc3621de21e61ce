"""Plot trainings: curves over epochs or learning rates, and confusion matrices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gpunet import figures
from gpunet.arguments import shortened
from gpunet.errors import StateError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NOT_DRAWN = {"epoch", "lr", "seconds"}  # columns that do not measure the model
_LEGIBLE = 30  # maximum classes whose names and counts are legible in a panel
_ACROSS = 3  # panels per row
_LONGEST_NAME = 40  # characters of a history's name per panel of width; its end is kept
_LONGEST_CLASS = 16  # characters of a class's name; its start is kept

_STYLES: Mapping[str, Literal["--", "-"]] = {"training": "--", "validation": "-"}
"""The line styles of the parts, if there are several histories."""

Curves = Mapping[str, Sequence[float]]
"""The columns of a history by name, a number per epoch."""

Confusion = tuple[np.ndarray, Sequence[str]]
"""A result of `metrics.confusion_matrix`, and the names of the classes."""


def figure(histories: Mapping[str, Curves], confusions: Mapping[str, Confusion] | None = None) -> Figure:
    """Return a figure with a panel for the loss and for each metric, followed by the confusion matrices.

    `histories` are columns by name in the legend, "" for a single one. Empty histories raise `StateError`.
    """
    measured = dict.fromkeys(name.removeprefix("val_") for history in histories.values() for name in history)
    columns = [name for name in measured if name not in _NOT_DRAWN]
    if not columns:
        raise StateError("the history has nothing to plot; train at least one epoch first.")
    confusions = confusions or {}
    curves, matrices = len(columns), len(confusions)
    across = min(max(curves, matrices) if matrices > 1 else curves + matrices, _ACROSS)
    first = across * math.ceil(curves / across) if matrices > 1 else curves  # several matrices begin a row
    down = math.ceil((first + matrices) / across)
    picture = figures.empty(5 * across, (4.5 if confusions else 3.5) * down + 0.25 * len(histories))
    panels = [*range(curves), *range(first, first + matrices)]
    axes = [picture.add_subplot(down, across, panel + 1) for panel in panels]
    for name, place in zip(columns, axes, strict=False):
        draw_column(place, name, histories)
    _draw_legend(picture, axes[:curves], list(histories), _LONGEST_NAME * across)
    for (name, (counts, classes)), place in zip(confusions.items(), axes[curves:], strict=True):
        draw_confusion_matrix(place, counts, classes)
        title = f"confusion matrix\n{shortened(name, -_LONGEST_NAME)}".strip()
        place.set_title(title, parse_math=False)  # a folder's name may have dollar signs
    return picture


def _draw_legend(picture: Figure, panels: Sequence[Any], names: Sequence[str], longest: int) -> None:
    """Draw one legend below all panels, where it cannot cover a curve.

    It lists the curves of a single history; if there are several, the line styles, then a colour per history.

    Args:
        longest: maximum characters of a name.
    """
    from matplotlib.lines import Line2D

    lines = list({line.get_label(): line for axes in panels for line in axes.lines}.values())
    if len(names) > 1:
        lines = [Line2D([], [], color="black", linestyle=style, label=part) for part, style in _STYLES.items()]
        lines += [Line2D([], [], color=f"C{i}", label=shortened(name, -longest)) for i, name in enumerate(names)]
    labels = [line.get_label() for line in lines]  # given, because matplotlib hides labels that begin with "_"
    legend = picture.legend(lines, labels, loc="outside lower center", ncols=1 if len(names) > 1 else len(lines))
    for text in legend.get_texts():
        text.set_parse_math(False)


def rates_figure(rates: np.ndarray, losses: np.ndarray, smoothed: np.ndarray, suggestion: float | None) -> Figure:
    """Return a figure of a range test: raw and smoothed losses over the rates, and the suggested rate, if any."""
    picture = figures.empty(6, 4)
    axes = picture.add_subplot()
    axes.plot(rates, losses, color="lightgray", label="loss of a batch")
    axes.plot(rates, smoothed, label="smoothed")
    if suggestion is not None:
        axes.axvline(suggestion, color="C1", linestyle="--", label=f"suggestion: {suggestion:.2g}")
    low, high = smoothed.min(), smoothed.max()
    margin = 0.1 * (high - low) or 1
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(low - margin, high + margin))
    figures.grid(axes)
    picture.legend(loc="outside lower center", ncols=3)
    return picture


def draw_column(axes: Any, name: str, histories: Mapping[str, Curves]) -> None:
    """Draw a column's training and validation curves into matplotlib axes; each history has its own colour.

    Histories without the column are skipped.
    """
    for number, (of, history) in enumerate(histories.items()):
        for index, (part, column) in enumerate({"training": name, "validation": f"val_{name}"}.items()):
            if column in history:
                several = {"color": f"C{number}", "linestyle": _STYLES[part]}
                own = several if len(histories) > 1 else {"color": f"C{index}"}
                epochs = range(1, len(history[column]) + 1)
                axes.plot(epochs, history[column], marker=".", label=f"{part} {of}".strip(), **own)
    axes.set(xlabel="epoch", title=name)
    axes.xaxis.get_major_locator().set_params(integer=True)
    figures.grid(axes)


def draw_confusion_matrix(axes: Any, counts: np.ndarray, classes: Sequence[str]) -> None:
    """Draw a confusion matrix into matplotlib axes: rows are the true class, columns the predicted one.

    Names and counts are shown for up to 30 classes, only colours for more.
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
