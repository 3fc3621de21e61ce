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


def test_the_kernels_readme_lists_each_kernel_where_it_is_and_what_it_takes():
    kernel = re.compile(r"__global__ void (?:__launch_bounds__\([^)]*\) )?(\w+)\(")
    folder = README.parent / "kernels"
    kernels = {path.name: kernel.findall(path.read_text(encoding="utf-8")) for path in folder.glob("*.cu")}
    told = (folder / "README.md").read_text(encoding="utf-8")
    files = dict(re.findall(r"^\| `(\w+\.cu)` \| (.*?) \|", told, re.MULTILINE))
    assert {name: sorted(re.findall(r"`(\w+)`", row)) for name, row in files.items()} == {
        name: sorted(names) for name, names in kernels.items()
    }
    measured = re.findall(r"^\| `(\w+)` \|", told, re.MULTILINE)
    assert sorted(measured) == sorted(name for names in kernels.values() for name in names)
