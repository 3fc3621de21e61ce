"""The CPU kernels under the address and undefined-behaviour sanitizers, on arrays of exactly the declared sizes."""

import functools
import re
import subprocess
from pathlib import Path

import pytest
from compiler.native.calls import FOLDER

from gpunet import builds
from gpunet.cuda.source import read_source
from gpunet.native.compiler import find_compiler

DRIVER = Path(__file__).with_name("sanitizer_driver.cpp")
FLAGS = ("-std=c++17", "-O1", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-DACTIVATION=gelu")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")

OVERRUNS = {
    "a last block that is not truncated": ("optimizers.cpp", "smaller(end * BLOCK, size)", "end * BLOCK"),
    "a label that is not checked": ("softmax_cross_entropy.cpp", "labels[row] >= 0 && ", ""),
}


def compile_object(name: str, source: str, real: str) -> Path:
    """Return the object file of a source with its headers inlined, from the cache of builds."""
    compiler = find_compiler()
    command = *compiler.command, *FLAGS, *SANITIZERS, f"-DREAL={real}", "-xc++", "-c", "-"

    def build(target: Path) -> None:
        builds.run_compiler([*command, "-o", str(target)], name, stdin=source)

    return builds.cached(f"{Path(name).stem}-sanitized", [compiler.version, *command, source], build)


def run_driver(objects: dict[str, Path], target: Path) -> subprocess.CompletedProcess:
    program = str(target / "driver")
    command = *find_compiler().command, *SANITIZERS, *objects.values(), "-o", program
    link = subprocess.run(command, capture_output=True, text=True)
    if link.returncode and re.search("cannot find|not found", link.stderr):
        pytest.skip("the compiler has no sanitizers")
    assert link.returncode == 0, link.stderr
    return subprocess.run([program], capture_output=True, text=True, timeout=120)


@functools.cache
def objects_of(real: str) -> dict[str, Path]:
    """Return the object files of the driver and the kernels, by source name."""
    kernels = [
        path for path in sorted(FOLDER.glob("*.cpp")) if re.search(r"^(ROWS|SLICES|WHOLE)\(", path.read_text(), re.M)
    ]
    sources = [(path.name, read_source(path)) for path in (DRIVER, *kernels)]
    tasks = [functools.partial(compile_object, *source, real) for source in sources]
    return dict(zip((name for name, _ in sources), builds.together(tasks), strict=True))


@pytest.mark.parametrize("real", ["float", "double"])
def test_no_kernel_accesses_memory_outside_its_arrays(real, tmp_path):
    done = run_driver(objects_of(real), tmp_path)
    assert (done.returncode, done.stdout) == (0, "all kernels done\n"), done.stderr


@pytest.mark.parametrize("name", OVERRUNS)
def test_a_planted_overrun_is_caught(name, tmp_path):
    file, right, wrong = OVERRUNS[name]
    source = read_source(FOLDER / file)
    assert right in source, "the kernel has changed: update the planted fault"
    planted = compile_object(file, source.replace(right, wrong, 1), "float")
    done = run_driver({**objects_of("float"), file: planted}, tmp_path)
    assert done.returncode != 0
    assert "AddressSanitizer" in done.stderr
