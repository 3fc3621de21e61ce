"""The Python code of `kernels/README.md` runs unchanged on the simulated GPU."""

import re
from pathlib import Path

README = Path(__file__).parents[2] / "kernels" / "README.md"


def test_the_python_code_of_the_readme_runs(capsys):
    for block in re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL):
        exec(block, {})
    assert abs(float(capsys.readouterr().out) - 1.9545) < 1e-4
