"""The time of `import gpunet` beyond that of `import numpy`, in fresh interpreters.

Both are imported from bytecode, like an installed package. Without bytecode (PYTHONDONTWRITEBYTECODE), compilation
would take most of the time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.conftest import Compare

CHECKOUT = Path(__file__).parents[1]


def test_import_beyond_numpy(compare: Compare, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(tmp_path)  # the warm-up writes the bytecode

    def fresh(statement: str) -> None:
        subprocess.run([sys.executable, "-c", statement], cwd=CHECKOUT, env=environment, check=True)

    compare(
        "import",
        lambda: fresh("import gpunet"),
        lambda: fresh("import numpy"),
        rounds=15,
        limit=150,
        unit=" ms",
    )
