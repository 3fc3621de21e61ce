"""The READMEs: their Python runs, their links lead somewhere, the lists of kernels are complete."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
GUIDES = [README, *sorted(README.parent.glob("gpunet/*/README.md")), README.parent / "CONTRIBUTING.md"]


def session_of(path: Path) -> dict[str, object]:
    """Run the Python of a README from top to bottom; a user's own kernel needs g++, see tests/compiler/bench."""
    session: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
        if "my.cu" not in block:
            exec(block, session)
    return session


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: str(path.relative_to(README.parent)))
def test_the_python_of_a_readme_runs_from_top_to_bottom(path, capsys):
    session = session_of(path)
    if path == README:
        assert "[0 1 2 3 4] [0 1 2 3 4]" in capsys.readouterr().out
    if path.parent.name == "training":
        assert session["value"] < 1
    if path.parent.name == "interop":
        assert session["pipeline"].score(session["data"].X, session["data"].y) > 0.99


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: str(path.relative_to(README.parent)))
def test_the_links_of_a_readme_lead_to_files(path):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_kernels_readme_lists_each_kernel_where_it_is_and_what_it_takes():
    kernel = re.compile(r"__global__ void (?:__launch_bounds__\([^)]*\) )?(\w+)\(")
    folder = README.parent / "kernels"
    kernels = {path.name: kernel.findall(path.read_text(encoding="utf-8")) for path in folder.glob("*.cu")}
    text = (folder / "README.md").read_text(encoding="utf-8")
    files = dict(re.findall(r"^\| `(\w+\.cu)` \| (.*?) \|", text, re.MULTILINE))
    assert {name: sorted(re.findall(r"`(\w+)`", row)) for name, row in files.items()} == {
        name: sorted(names) for name, names in kernels.items()
    }
    measured = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert sorted(measured) == sorted(name for names in kernels.values() for name in names)
