"""`import gpunet` beyond `import numpy`, in fresh interpreters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.conftest import Compare

CHECKOUT = Path(__file__).parents[1]


def test_import_beyond_numpy(compare: Compare) -> None:
    def fresh(statement: str) -> None:
        subprocess.run([sys.executable, "-c", statement], cwd=CHECKOUT, check=True)

    compare(
        "import",
        lambda: fresh("import gpunet"),
        lambda: fresh("import numpy"),
        rounds=15,
        limit=150,
        unit=" ms",
    )
