"""Plots: titles, lines, labels and counts. Plots of a single history: test_history.py."""

import io

import numpy as np
import pytest

from gpunet.errors import StateError
from gpunet.training.plots import draw_confusion_matrix, figure

pytest.importorskip("matplotlib")

LONG = {"loss": [3.0, 2.0, 1.0], "val_loss": [4.0, 3.0, 2.0]}
SHORT = {"loss": [5.0], "mae": [0.5]}
COUNTS = np.array([[7, 2], [0, 4]])


def lines(axes):
    return {line.get_label(): list(line.get_ydata()) for line in axes.lines}


def confusion(counts, classes):
    """Return the axes with a confusion matrix."""
    (axes,) = figure({"": SHORT}, {"": (counts, classes)}).axes[-1:]
    return axes


def test_several_histories_share_panels_and_are_named_in_the_legend():
    loss, mae = figure({"a": LONG, "b": SHORT}).axes
    assert (loss.get_title(), mae.get_title()) == ("loss", "mae")
    assert lines(loss) == {"training a": [3, 2, 1], "validation a": [4, 3, 2], "training b": [5]}
    assert lines(mae) == {"training b": [0.5]}


def test_a_history_has_one_colour_in_all_panels_where_there_are_several():
    loss, mae = figure({"a": LONG, "b": SHORT}).axes
    a, a_validation, b = (line.get_color() for line in loss.lines)
    assert a == a_validation
    assert b != a
    assert mae.lines[0].get_color() == b


def test_epochs_are_counted_from_1():
    (axes,) = figure({"": LONG}).axes
    assert list(axes.lines[0].get_xdata()) == [1, 2, 3]
    assert axes.get_xlabel() == "epoch"


def test_each_confusion_matrix_has_a_panel_after_the_curves():
    axes = figure({"a": LONG, "b": LONG}, {"a": (COUNTS, ("no", "yes")), "b": (COUNTS.T, ("no", "yes"))}).axes
    curves, *matrices = (place.get_subplotspec().rowspan.start for place in axes)
    assert (curves, matrices) == (0, [1, 1])  # several begin a row
    assert [place.get_title() for place in axes] == ["loss", "confusion matrix\na", "confusion matrix\nb"]
    np.testing.assert_array_equal(axes[1].images[0].get_array(), COUNTS)
    np.testing.assert_array_equal(axes[2].images[0].get_array(), COUNTS.T)


def test_a_confusion_matrix_has_true_classes_as_rows_and_predicted_ones_as_columns():
    axes = confusion(COUNTS, ("no", "yes"))
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("true", "predicted")
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "7", (1, 0): "2", (0, 1): "0", (1, 1): "4"}  # by column and row
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [tick.get_text() for tick in ticks] == ["no", "yes"]
    assert axes.yaxis_inverted()  # the first class is at the top


def test_many_classes_are_drawn_without_names_and_counts():
    axes = confusion(np.eye(40, dtype=int), [f"class {number}" for number in range(40)])
    np.testing.assert_array_equal(axes.images[0].get_array(), np.eye(40))
    assert not axes.texts
    assert "class 0" not in [tick.get_text() for tick in axes.get_xticklabels()]


def test_a_confusion_matrix_can_be_drawn_into_given_axes():
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    draw_confusion_matrix(axes, COUNTS, ("no", "yes"))
    np.testing.assert_array_equal(axes.images[0].get_array(), COUNTS)


def test_names_are_not_rendered_as_formulas():
    picture = figure({"$x^$": LONG, "_y": LONG}, {"$x^$": (COUNTS, ("$a^$", "$5"))})
    picture.savefig(io.BytesIO(), format="png")  # which a bad formula would break
    legend = [text.get_text() for text in picture.legends[0].get_texts()]
    assert legend == ["training", "validation", "$x^$", "_y"]


def test_an_empty_history_cannot_be_plotted():
    with pytest.raises(StateError, match="nothing to plot"):
        figure({"a": {}, "b": {}})


def test_the_legend_of_several_histories_has_a_line_style_per_part_and_a_colour_per_history():
    picture = figure({"a": LONG, "b": SHORT, "c": LONG})
    (legend,) = picture.legends
    drawn = {text.get_text(): line for text, line in zip(legend.get_texts(), legend.get_lines(), strict=True)}
    curves = {line.get_label(): line for line in picture.axes[0].lines}
    assert list(drawn) == ["training", "validation", "a", "b", "c"]
    for part in ("training", "validation"):
        assert drawn[part].get_linestyle() == curves[f"{part} a"].get_linestyle()
    for name in ("a", "b", "c"):
        assert drawn[name].get_color() == curves[f"training {name}"].get_color()


def test_three_long_names_are_whole_in_a_legend_of_three_panels_and_fit_in_the_figure():
    measured = {"loss": [1.0], "accuracy": [0.5], "f1": [0.5]}
    names = [f"{number}/{'a' * 80}-20260101" for number in range(3)]
    picture = figure(dict.fromkeys(names, measured))
    assert_inside(picture, picture.legends)
    assert [text.get_text() for text in picture.legends[0].get_texts()][2:] == names


def test_names_that_are_too_long_are_shortened_and_fit_in_the_figure():
    run, other = (f"{number}/{'a' * 120}-20260101" for number in (1, 2))
    picture = figure({run: LONG, other: LONG}, {run: (COUNTS, ("a class whose name is long", "no"))})
    assert_inside(picture, [*picture.legends, picture.axes[-1].title])
    _, _, *names = [text.get_text() for text in picture.legends[0].get_texts()]
    assert len(names) == 2  # though both end alike
    assert all(len(name) <= 80 and name.endswith("-20260101") for name in names)
    assert picture.axes[-1].get_xticklabels()[0].get_text() == "a class whose n…"


def assert_inside(picture, parts):
    """Draw a figure and check that these parts lie within it."""
    picture.savefig(io.BytesIO(), format="png")
    width, height = picture.get_size_inches() * picture.dpi
    for box in (part.get_window_extent() for part in parts):
        assert 0 <= box.x0 <= box.x1 <= width
        assert 0 <= box.y0 <= box.y1 <= height
