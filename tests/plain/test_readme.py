import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_s_python_runs_from_top_to_bottom(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    session = {}
    for block in blocks:
        if "my.cu" not in block:  # a user's own kernel, see tests/compiler/bench/test_check.py
            exec(block, session)
    assert session["value"] < 1
    assert "[0 1 2 3 4] [0 1 2 3 4]" in capsys.readouterr().out
