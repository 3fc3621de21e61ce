"""Check and measure everything on a GPU.

    python -m benchmarks.gpu_report --out DIR [--device cuda|sim] [--minutes 9]

needs the checkout and what gpunet needs, CuPy and pytest; PyTorch, JAX and matplotlib are used where they are. It
leaves report.json, report.md and pictures, written as it goes, and exits with 1 where something failed or is wrong.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.gpu_report.pictures import draw
from benchmarks.gpu_report.runner import good, run
from benchmarks.gpu_report.section import Setup
from benchmarks.gpu_report.sections import SECTIONS
from gpunet.device import get_device
from gpunet.errors import DeviceError


def minutes(text: str) -> float:
    """Return a number above zero."""
    value = float(text)
    if not 0 < value < 1e6:
        raise ValueError
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report; return 0 where all of it is good."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_report", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the report is kept")
    parser.add_argument("--device", choices=("cuda", "sim"), default="cuda", help="default: %(default)s")
    parser.add_argument("--minutes", type=minutes, default=9.0, help="that it may take; default: %(default)g")
    parser.add_argument("--commit", help="of the checkout, where it has no .git to tell")
    options = parser.parse_args(arguments)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=options.out):
            pass
    except OSError as error:
        parser.error(f"--out: no file can be written in {options.out} ({error.strerror})")
    try:
        get_device(options.device)
    except DeviceError as error:
        parser.error(f"--device: {error}")
    setup = Setup(options.device, commit=options.commit)
    report = run(SECTIONS, setup, options.out, options.minutes, tell=partial(print, flush=True))
    draw(report, options.out)
    return 0 if good(report) else 1


if __name__ == "__main__":
    sys.exit(main())
