"""The style of all figures: light grids, one legend outside the panels, plain numbers on logarithmic axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpunet.errors import MissingPackageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def empty(width: float, height: float) -> Figure:
    """Return an empty figure; the size is in inches.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingPackageError("plot needs matplotlib: pip install 'matplotlib>=3.8'") from None
    return Figure(figsize=(width, height), layout="constrained")


def grid(axes: Any) -> None:
    """Draw light grid lines below the curves."""
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)


def plain_ticks(axis: Any, *subs: int) -> None:
    """Label a logarithmic axis with plain numbers at the powers of ten and their multiples by `subs`."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, *subs)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
