"""Mutation testing of gpunet's kernels and glue: does a test notice if a line of them is wrong?

    python tests/mutation/run.py                      all mutants of the tables
    python tests/mutation/run.py pooling              those with the word in their name or file
    python tests/mutation/run.py --draw 6 --seed 1    some of them
    python tests/mutation/run.py --derive kernels/gather.cu --tests compiler/kernels/test_rows --draw 20

The last derives mutants of standard kinds from a source. Prints each outcome and the score, and exits with 1 if a
mutant survived or is broken. The kernels of a mutant are compiled, and stay in gpunet's cache.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from mutation.derive import derive
from mutation.mutant import RUNNING, TABLES, Mutant, Outcome, copied, judge, kill_group, read_table, run_tests

MUTANTS = [mutant for path in sorted(TABLES.iterdir()) for mutant in read_table(path)]


def passes_without(mutants: Sequence[Mutant]) -> bool:
    """Return whether the tests of mutants pass on the unchanged sources; print what fails."""
    tests = {test: None for mutant in mutants for test in mutant.tests}
    with copied() as copy:
        done = run_tests(copy, tests)
    if done.returncode:
        print(done.stdout[-3000:], done.stderr[-1000:], "the tests fail without a mutant", sep="\n")
    return done.returncode == 0


def score(mutants: Sequence[Mutant], jobs: int) -> Counter[Outcome]:
    """Try mutants, print the outcome of each, and return how many have each outcome."""

    def tried(mutant: Mutant) -> Outcome:
        start = time.perf_counter()
        outcome, shown = judge(mutant)
        print(f"{outcome}: {mutant.name} [{mutant.file}, {time.perf_counter() - start:.0f} s] {shown}", flush=True)
        return outcome

    with ThreadPoolExecutor(jobs) as pool:
        try:
            return Counter(pool.map(tried, mutants))
        except KeyboardInterrupt:
            for group in RUNNING.copy():
                kill_group(group)
            raise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("word", nargs="?", default="", help="only mutants with this in their name or file")
    parser.add_argument("--draw", type=int, help="only this many, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the draw")
    parser.add_argument("--jobs", type=int, default=1, help="mutants tried at a time")
    parser.add_argument("--derive", metavar="FILE", help="derive the mutants from this source")
    parser.add_argument("--tests", nargs="+", default=(), help="the tests that should notice derived mutants")
    arguments = parser.parse_args()
    if bool(arguments.derive) != bool(arguments.tests):
        parser.error("--derive and --tests belong together")
    mutants = derive(arguments.derive, tuple(arguments.tests)) if arguments.derive else MUTANTS
    mutants = [mutant for mutant in mutants if arguments.word in f"{mutant.name} {mutant.file}"]
    if arguments.draw is not None:
        mutants = random.Random(arguments.seed).sample(mutants, min(arguments.draw, len(mutants)))
    if not mutants or not passes_without(mutants):
        sys.exit("no mutant was tried")
    counts = score(mutants, arguments.jobs)
    print(", ".join(f"{outcome} {counts[outcome]}" for outcome in ("caught", "survived", "equivalent", "broken")))
    sys.exit(counts["survived"] + counts["broken"] > 0)


if __name__ == "__main__":
    main()
