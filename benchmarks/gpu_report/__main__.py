"""Check and measure everything on a GPU.

    python -m benchmarks.gpu_report --out DIR [--device cuda|sim] [--minutes 9]

needs a checkout, gpunet's dependencies, CuPy and pytest; it uses PyTorch, JAX and matplotlib if they are installed. It
writes report.json, report.md and plots into DIR after each finding, and exits with 1 if a section failed or found a
fault.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.gpu_report.pictures import draw
from benchmarks.gpu_report.runner import passed, run
from benchmarks.gpu_report.section import Setup
from benchmarks.gpu_report.sections import SECTIONS
from gpunet.device import get_device
from gpunet.errors import DeviceError


def minutes(text: str) -> float:
    """Parse a positive number."""
    value = float(text)
    if not 0 < value < 1e6:
        raise ValueError
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report; return 0 if every section passed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_report", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the report")
    parser.add_argument("--device", choices=("cuda", "sim"), default="cuda", help="default: %(default)s")
    parser.add_argument("--minutes", type=minutes, default=9.0, help="time limit; default: %(default)g")
    parser.add_argument("--commit", help="commit of the checkout, if it has no .git")
    options = parser.parse_args(arguments)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=options.out):
            pass
    except OSError as error:
        parser.error(f"--out: {options.out} is not writable ({error.strerror})")
    try:
        get_device(options.device)
    except DeviceError as error:
        parser.error(f"--device: {error}")
    setup = Setup(options.device, commit=options.commit)
    report = run(SECTIONS, setup, options.out, options.minutes, log=partial(print, flush=True))
    draw(report, options.out)
    return 0 if passed(report) else 1


if __name__ == "__main__":
    sys.exit(main())
