"""The modules that `import gpunet` loads, the layers of the architecture, and import cycles."""

import ast
import subprocess
import sys
from collections.abc import Collection
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import gpunet

PACKAGE = Path(gpunet.__file__).parent
LAYERS = {
    "startup": 0,
    "errors": 0,
    "random": 0,
    "files": 0,
    "arguments": 0,
    "habits": 0,
    "html": 0,
    "figures": 0,
    "versions": 0,
    "formats": 0,
    "locks": 0,
    "registry": 0,
    "attributes": 0,
    "builds": 1,
    "simulator": 1,
    "probe": 2,
    "device": 2,
    "default_device": 2,
    "memory": 2,
    "tape": 2,
    "recording": 2,
    "faults": 2,
    "uploads": 2,
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
    "gradcheck": 6,
    "training": 7,
    "bench": 8,
    "sklearn": 8,
    "interop": 8,
    "testing": 8,
    "gpunet": 8,  # the library as its users see it
    "cli": 9,
    "examples": 9,
    "__main__": 10,
}
"""The layer of each package or module: it imports from its own layer or lower ones, never in a cycle."""


def module_name(path: Path) -> str:
    parts = ("gpunet", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}


def package_of(module: str) -> str:
    """Return the name in `LAYERS` to which a module belongs."""
    name = module.split(".")[1:2]
    return name[0] if name and name[0] in LAYERS else "gpunet"


def imported_modules(source: str, known: Collection[str] = MODULES) -> set[str]:
    """Return the modules of gpunet that a source imports, also for typing alone and inside of functions."""
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a module comes from"
            for name in node.names:
                full = f"{node.module}.{name.name}"
                modules.add(full if full in known else node.module)
    return {module for module in modules if module.split(".")[0] == "gpunet"}


def imported_packages(source: str) -> set[str]:
    """Return the packages that a source imports from."""
    return set(map(package_of, imported_modules(source)))


def cycles(imports: dict[str, set[str]]) -> list[set[str]]:
    """Return the sets of modules that import each other, directly or by way of others."""
    reached: dict[str, set[str]] = {}
    for module in imports:
        reached[module], waiting = set(), [module]
        while waiting:
            new = imports.get(waiting.pop(), set()) - reached[module]
            reached[module] |= new
            waiting += new
    found = {frozenset(o for o in reached[m] if m in reached.get(o, ())) for m in imports if m in reached[m]}
    return sorted(map(set, found), key=sorted)


def above(own: str, source: str) -> set[str]:
    """Return the packages of higher layers than `own` that a source imports from."""
    return {other for other in imported_packages(source) if LAYERS[other] > LAYERS[own]}


def test_importing_gpunet_imports_nothing_heavy():
    heavy = {"cupy", "sklearn", "matplotlib", "mpi4py", "onnx", "tensorboardX", "torch", "jax"}
    heavy |= {"pandas", "polars", "pyarrow", "click", "tqdm", "importlib.resources", "numpy.random"}
    heavy |= {"gpunet.bench", "gpunet.gradcheck", "gpunet.interop"}
    code = f"import sys, gpunet; print(sorted({heavy} & sys.modules.keys()))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stderr


def test_no_package_imports_from_a_higher_layer():
    for module, source in MODULES.items():
        assert above(package_of(module), source) == set(), module


def test_no_packages_import_each_other_in_a_cycle():
    graph = {}
    for module, source in MODULES.items():
        own = package_of(module)
        graph.setdefault(own, set()).update(imported_packages(source) - {own})
    TopologicalSorter(graph).prepare()


def test_no_modules_import_each_other_in_a_cycle():
    imports = {module: imported_modules(source) for module, source in MODULES.items()}
    assert cycles(imports) == []


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        ({"a": "from gpunet import b", "b": "def f():\n    import gpunet.a"}, [{"a", "b"}]),
        ({"a": "if TYPE_CHECKING:\n    from gpunet.b import B", "b": "from gpunet.a import A"}, [{"a", "b"}]),
        ({"a": "import gpunet.b", "b": "import gpunet.c", "c": "import gpunet.a"}, [{"a", "b", "c"}]),
        ({"a": "import gpunet.b", "b": "import gpunet.a", "c": "import gpunet.a"}, [{"a", "b"}]),
        ({"a": "import gpunet.b", "b": "import gpunet.c, numpy", "c": ""}, []),
        ({"a": "import gpunet.a"}, [{"a"}]),
    ],
)
def test_the_search_for_cycles_finds_them(sources, found):
    sources = {f"gpunet.{name}": source for name, source in sources.items()}
    imports = {module: imported_modules(source, sources) for module, source in sources.items()}
    assert cycles(imports) == [{f"gpunet.{name}" for name in cycle} for cycle in found]


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
def test_the_search_for_imports_from_higher_layers_finds_them(own, source, found):
    assert above(own, source) == found


def test_every_public_name_is_there():
    assert [name for name in gpunet.__all__ if not hasattr(gpunet, name)] == []
    assert set(gpunet.__all__) <= set(dir(gpunet))
    with pytest.raises(AttributeError, match="module 'gpunet' has no attribute 'Liner'"):
        gpunet.Liner  # noqa: B018


def test_the_names_of_the_package_are_the_public_ones():
    assert {name for name in dir(gpunet) if not name.startswith("__")} == set(gpunet.__all__)
