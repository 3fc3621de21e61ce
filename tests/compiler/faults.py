"""Plant every known fault, run it, and print which check finds it.

    python tests/compiler/faults.py

First the faults in gpunet's kernels, then a kernel for each kind of finding of check mode. Exits with 1 if a fault is
not found. Needs g++.
"""

import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from compiler.kernels import planted
from compiler.simulator import findings

from gpunet.errors import KernelError


def caught(run, *args):
    """Return which check finds the fault of `run`, and the line that it names."""
    try:
        run(*args)
    except AssertionError:
        return "comparison with NumPy", ""
    except KernelError as error:
        text = str(error).partition(": ")[2]
        line = re.search(r"\S+\.cuh?:\d+", text)
        return f"check mode: {re.split(': | at |,', text)[0]}", line[0] if line else ""
    return "NOT CAUGHT", ""


def table():
    """Yield each fault: its name, its file, the check that finds it, and the line."""
    for name, (file, *_) in planted.FAULTS.items():
        with tempfile.TemporaryDirectory() as folder:
            yield name, file, *caught(planted.plant, name, Path(folder))
    for name in findings.FAULTS:
        yield name, "test.cu", *caught(findings.provoke, name)


def main():
    """Print the table; return whether a fault was not found."""
    print("| fault | planted in | caught by | at |\n|---|---|---|---|")
    missed = False
    for row in table():
        print(f"| {' | '.join(row)} |", flush=True)
        missed |= "NOT CAUGHT" in row
    return missed


if __name__ == "__main__":
    sys.exit(main())
