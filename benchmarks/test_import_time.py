"""`import gpunet` beyond `import numpy`, in fresh interpreters that find both compiled to bytecode.

An installed package is, and a checkout is from its first import on, unless PYTHONDONTWRITEBYTECODE forbids it: then the
compilation is most of the time.
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
    environment["PYTHONPYCACHEPREFIX"] = str(tmp_path)  # filled by the warm-up

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
