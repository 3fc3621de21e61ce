"""Change files at random and read them: `python tests/fuzz/run.py --rounds 1000`.

The seed of a change repeats it: `--seed 123 --target checkpoint --rounds 1`. A changed file must either load or
raise one of gpunet's errors, within two seconds.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
from targets import TARGETS, Target

from gpunet.errors import GpunetError

MOST_SECONDS = 2.0


def fuzz(target: Target, seeds: range, folder: Path) -> Counter[str]:
    """Return how many changed files were read, refused, or failed otherwise; print the seeds and errors of the last."""
    suffix = ".npz" if "npz" in target.name else ".file"
    valid = folder / f"valid{suffix}"
    target.write(valid)
    target.read(valid)
    counts: Counter[str] = Counter()
    for seed in seeds:
        path = folder / f"changed{suffix}"
        shutil.copy(valid, path)
        target.change(np.random.default_rng([seed, zlib.crc32(target.name.encode())]), path)
        start = time.perf_counter()
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                target.read(path)
            outcome = "read"
        except GpunetError:
            outcome = "refused"
        except Exception:
            outcome = "wrong"
            print(f"{target.name}, seed {seed}:\n{traceback.format_exc(limit=-3)}")
        if time.perf_counter() - start > MOST_SECONDS:
            outcome = "wrong"
            print(f"{target.name}, seed {seed}: {time.perf_counter() - start:.1f} s")
        counts[outcome] += 1
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="changes of each format")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--target", help="only formats whose name contains this")
    arguments = parser.parse_args()
    total: Counter[str] = Counter()
    for target in TARGETS:
        if arguments.target and arguments.target not in target.name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            counts = fuzz(target, range(arguments.seed, arguments.seed + arguments.rounds), Path(folder))
        print(f"{target.name}: {dict(counts)}")
        total += counts
    print(f"all: {dict(total)}")
    sys.exit(total["wrong"] > 0)


if __name__ == "__main__":
    main()
