"""What `import gpunet` brings along, and which room imports which."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import gpunet

PACKAGE = Path(gpunet.__file__).parent
FLOORS = {
    "errors": 0,
    "faults": 0,
    "arguments": 0,
    "random": 0,
    "recording": 1,
    "files": 1,
    "builds": 1,
    "simulator": 1,
    "device": 2,
    "tape": 2,
    "data": 2,
    "cuda": 3,
    "native": 3,
    "ops": 4,
    "layers": 5,
    "losses": 5,
    "optimizers": 5,
    "schedules": 5,
    "initializers": 5,
    "models": 6,
    "training": 7,
    "bench": 8,
    "interop": 8,
    "sklearn": 8,
    "gpunet": 8,  # the library as its users see it
    "cli": 9,
    "__main__": 10,
}
"""A room imports from no floor above its own, and there are no circles."""


def room(module: str) -> str:
    """Return the room of a module: its first name after "gpunet" that is one."""
    name = module.split(".")[1:2]
    return name[0] if name and name[0] in FLOORS else "gpunet"


def imported_rooms(source: str) -> set[str]:
    """Return the rooms that a source imports from, also inside of functions."""
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a module comes from"
            # `from gpunet import x` may import the module gpunet.x
            modules |= {f"{node.module}.{name.name}" if node.module == "gpunet" else node.module for name in node.names}
    return {room(module) for module in modules if module.split(".")[0] == "gpunet"}


def above(own: str, source: str) -> set[str]:
    """Return the rooms above `own` that a source imports from."""
    return {other for other in imported_rooms(source) if FLOORS[other] > FLOORS[own]}


def module_name(path: Path) -> str:
    return ".".join(("gpunet", *path.relative_to(PACKAGE).with_suffix("").parts))


def test_importing_gpunet_imports_nothing_heavy():
    heavy = {"cupy", "sklearn", "matplotlib", "mpi4py", "onnx", "tensorboardX", "torch", "jax"}
    heavy |= {"click", "tqdm", "importlib.resources", "numpy.random", "gpunet.bench", "gpunet.interop"}
    code = f"import sys, gpunet; print(sorted({heavy} & sys.modules.keys()))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stderr


def test_no_room_imports_from_above():
    for path in PACKAGE.rglob("*.py"):
        assert above(room(module_name(path)), path.read_text(encoding="utf-8")) == set(), path


def test_no_rooms_import_each_other_in_a_circle():
    graph = {}
    for path in PACKAGE.rglob("*.py"):
        own = room(module_name(path))
        graph.setdefault(own, set()).update(imported_rooms(path.read_text(encoding="utf-8")) - {own})
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize(
    ("own", "source", "found"),
    [
        ("ops", "from gpunet.layers import Linear", {"layers"}),
        ("ops", "import gpunet.models as m", {"models"}),
        ("tape", "def f():\n    from gpunet import device, training", {"training"}),
        ("training", "from gpunet import MLP", {"gpunet"}),
        ("models", "from gpunet import errors\nimport numpy", set()),
    ],
)
def test_the_search_for_imports_from_above_finds_them(own, source, found):
    assert above(own, source) == found


def test_every_public_name_is_there():
    assert [name for name in gpunet.__all__ if not hasattr(gpunet, name)] == []
    assert set(gpunet.__all__) <= set(dir(gpunet))
    with pytest.raises(AttributeError, match="module 'gpunet' has no attribute 'Liner'"):
        gpunet.Liner  # noqa: B018
