"""The plots of `gpunet bench --plot`: legends, labels and units."""

import dataclasses

import pytest

from gpunet.bench.ceilings import Ceilings
from gpunet.bench.plot import plot
from gpunet.bench.results import Report, Row
from gpunet.bench.timing import Spread

FIGURE = pytest.importorskip("matplotlib.figure").Figure

ROW = Row(
    "matmul", "NN", "64x64x64", "float32", 2 * 64**3, 12 * 64**2, "FLOP/s", "blas", seconds=Spread(1e-7, 9e-8, 2e-7)
)
LARGER = {"size": "96x96x96", "flops": 2 * 96**3, "nbytes": 12 * 96**2}


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Plot rows; return the figures, the roofline and then the speeds."""
    figures = []
    monkeypatch.setattr(FIGURE, "savefig", lambda self, *arguments, **options: figures.append(self))

    def draw(*rows):
        plot(Report({"cpu": "a"}, Ceilings(1e11, 5e12), rows), tmp_path / "p")
        return figures

    return draw


def test_a_kernel_is_one_line_over_its_sizes_and_tf32_is_named(drawn):
    rows = [dataclasses.replace(ROW, kernel=kernel, **size) for kernel in ("blas", "mma") for size in ({}, LARGER)]
    roofline, speeds = drawn(*rows)
    ceilings, *kernels = [text.get_text() for text in roofline.legends[0].get_texts()]
    assert kernels == ["blas", "mma (TF32)"]
    assert ceilings.splitlines() == ["ceilings:", "5 TFLOP/s (library, float32)", "100 GB/s (copy)"]
    assert [text.get_text() for text in roofline.axes[0].texts] == ["64", "96"]
    assert roofline.axes[0].get_ylabel() == speeds.axes[0].get_ylabel() == "TFLOP/s"
    assert [len(line.get_xdata()) for line in speeds.axes[0].lines] == [2, 2]
