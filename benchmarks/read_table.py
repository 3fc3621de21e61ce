"""Compare the time and memory of reading a table of 200,000 rows and 20 columns with `pandas.read_csv`.

    python benchmarks/read_table.py [ROUNDS]

Both read the same file of floats, integers, categories and missing values in fresh processes, in interleaved rounds.
The time is CPU time; the memory is the peak resident set size minus that after the imports (Linux and macOS). A third
row shows `gn.data.load`, which also encodes the features. Prints the medians and quartiles of the ratios of each round;
exits with 1 if `read_table` takes more than 1.5 times the time or the memory.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

ROWS = 200_000
LIMIT = 1.5
KINDS = ("pandas.read_csv", "gpunet read_table", "gpunet load")


def main(rounds: int = 7) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        # in a child, as the peak memory of later children starts at that of this process
        subprocess.run([sys.executable, __file__, "write", str(path)], check=True)
        print(f"{ROWS:,} rows, 20 columns, {path.stat().st_size / 1e6:.0f} MB")
        figures: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
        for _ in range(rounds):
            for kind in KINDS:
                figures[kind].append(measured(kind, path))
    within = True
    for kind in KINDS:
        shown = [kind.ljust(18)]
        for which, (unit, scale) in enumerate((("ms", 1e3), ("MB", 1e-6))):
            values, baseline = ([row[which] for row in figures[name]] for name in (kind, KINDS[0]))
            ratios = [a / b for a, b in zip(values, baseline, strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            shown.append(f"{statistics.median(values) * scale:7.0f} {unit}  {middle:.2f}x ({low:.2f} to {high:.2f})")
            within &= kind != "gpunet read_table" or middle <= LIMIT
        print("   ".join(shown))
    print("ok" if within else f"FAILED: a ratio exceeds {LIMIT}")
    return 0 if within else 1


def write(path: Path) -> None:
    """Write the table, and check that both functions read the same values."""
    import numpy as np
    import pandas

    from gpunet.data import read_table

    rng = np.random.default_rng(0)
    columns: dict[str, object] = {f"number {i}": rng.normal(size=ROWS).round(4) for i in range(12)}
    columns |= {f"whole {i}": rng.integers(0, 1000, ROWS) for i in range(3)}
    columns |= {
        f"with blanks {i}": np.where(rng.random(ROWS) < 0.1, np.nan, rng.random(ROWS).round(3)) for i in range(2)
    }
    columns |= {f"category {i}": rng.choice(["red", "green", "blue", "yellow"], ROWS) for i in range(2)}
    pandas.DataFrame(columns | {"class": rng.choice(["yes", "no"], ROWS)}).to_csv(path, index=False)
    pandas.testing.assert_frame_equal(read_table(path).frame, pandas.read_csv(path))


def measured(kind: str, path: Path) -> tuple[float, float]:
    """Read the file in a separate process; return its CPU seconds and bytes of memory."""
    done = subprocess.run([sys.executable, __file__, kind, str(path)], check=True, capture_output=True, text=True)
    seconds, size = json.loads(done.stdout)
    return seconds, size


def read(kind: str, path: str) -> None:
    """Read the file in this process; print the CPU seconds and the bytes of memory."""
    import pandas

    import gpunet as gn

    warnings.simplefilter("ignore")
    functions = {
        "pandas.read_csv": pandas.read_csv,
        "gpunet read_table": gn.data.read_table,
        "gpunet load": gn.data.load,
    }
    small = Path(path).with_name("small.csv")
    with open(path, encoding="utf-8") as file:
        small.write_text("".join(next(file) for _ in range(100)), encoding="utf-8")
    functions[kind](small)  # warm-up: imports and compiles
    before, began = peak(), time.process_time()
    table = functions[kind](path)
    seconds = time.process_time() - began
    print(json.dumps((seconds, peak() - before)))
    del table


def peak() -> int:
    """Return the peak resident set size in bytes."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        write(Path(sys.argv[2]))
    elif sys.argv[1:] and sys.argv[1] in KINDS:
        read(*sys.argv[1:])
    else:
        sys.exit(main(*map(int, sys.argv[1:])))
