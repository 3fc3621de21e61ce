"""The CPU kernels under the address and undefined-behaviour sanitizers, on arrays of exactly the declared sizes."""

import functools
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from compiler.native.calls import FOLDER

from gpunet.native.compiler import find_compiler

DRIVER = Path(__file__).with_name("sanitizer_driver.cpp")
FLAGS = ("-std=c++17", "-O1", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-DACTIVATION=gelu")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")

OVERRUNS = {
    "a last block that is not truncated": ("optimizers.cpp", "smaller(end * BLOCK, size)", "end * BLOCK"),
    "a label that is not checked": ("softmax_cross_entropy.cpp", "labels[row] >= 0 && ", ""),
}


def compile_objects(sources: list[Path], real: str, target: Path) -> dict[str, str]:
    """Compile each source separately; return the object files by source name."""

    def compile_object(source: Path) -> str:
        object_file = str(target / f"{source.stem}.o")
        flags = *FLAGS, *SANITIZERS, f"-DREAL={real}", "-iquote", str(FOLDER)
        subprocess.run([*find_compiler().command, *flags, "-c", str(source), "-o", object_file], check=True)
        return object_file

    with ThreadPoolExecutor(2) as pool:
        return dict(zip((source.name for source in sources), pool.map(compile_object, sources), strict=True))


def run_driver(objects: dict[str, str], target: Path) -> subprocess.CompletedProcess:
    program = str(target / "driver")
    command = *find_compiler().command, *SANITIZERS, *objects.values(), "-o", program
    link = subprocess.run(command, capture_output=True, text=True)
    if link.returncode and re.search("cannot find|not found", link.stderr):
        pytest.skip("the compiler has no sanitizers")
    assert link.returncode == 0, link.stderr
    return subprocess.run([program], capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def objects_of(tmp_path_factory):
    """The driver and the kernels, compiled once per type."""
    sources = [
        path for path in sorted(FOLDER.glob("*.cpp")) if re.search(r"^(ROWS|SLICES|WHOLE)\(", path.read_text(), re.M)
    ]
    return functools.cache(lambda real: compile_objects([DRIVER, *sources], real, tmp_path_factory.mktemp(real)))


@pytest.mark.parametrize("real", ["float", "double"])
def test_no_kernel_accesses_memory_outside_its_arrays(real, objects_of, tmp_path):
    done = run_driver(objects_of(real), tmp_path)
    assert (done.returncode, done.stdout) == (0, "all kernels done\n"), done.stderr


@pytest.mark.parametrize("name", OVERRUNS)
def test_a_planted_overrun_is_caught(name, objects_of, tmp_path):
    file, right, wrong = OVERRUNS[name]
    source = (FOLDER / file).read_text()
    assert right in source, "the kernel has changed: plant the fault anew"
    planted = tmp_path / file
    planted.write_text(source.replace(right, wrong, 1))
    done = run_driver({**objects_of("float"), **compile_objects([planted], "float", tmp_path)}, tmp_path)
    assert done.returncode != 0
    assert "AddressSanitizer" in done.stderr
