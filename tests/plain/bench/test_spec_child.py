"""A spec is Python code: it runs in a child process, and an error names its line."""

import os
import time

import numpy as np
import pytest

from gpunet.bench.spec_child import SHOWN, left_in_child, read_spec_in_child
from gpunet.errors import ArgumentError

ON_WINDOWS = os.name == "nt"
SPEC = """import numpy as np
kernel, grid, block, cases = "scale", 2, 32, [1, 5]
options = {"TILE": 4}
versus = {"other": "slow", "function": lambda x: {"x": x}}
def inputs(rng, n):
    print("inputs of", n)
    return {"x": rng.random(n, np.float32)}
def reference(x):
    return {"x": 2 * x}
"""


@pytest.fixture
def spec(tmp_path):
    def write(text):
        (tmp_path / "spec.py").write_text(text, encoding="utf-8")
        return tmp_path / "spec.py"

    return write


def test_the_cases_of_a_spec_come_from_the_child_and_its_prints_go_to_stderr(spec, capfd):
    one, five = read_spec_in_child(spec(SPEC), {"N": "3"}, 60)
    assert (one.label, one.kernel, one.options) == ("case 1", "scale", {"TILE": "4", "N": "3"})
    assert one.versus == {"other": "slow", "function": left_in_child}
    assert five.inputs["x"].shape == (5,)
    np.testing.assert_allclose(five.expected["x"], 2 * five.inputs["x"], rtol=1e-6)
    captured = capfd.readouterr()
    assert (captured.out, captured.err.splitlines()) == ("", ["inputs of 1", "inputs of 5"])


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_spec_may_print_bytes_and_ask_for_the_file_of_a_stream(spec, capfd, stream):
    line = (
        f"import os, sys; s = sys.{stream}; s.write('é '); s.buffer.write(b'bytes '); os.write(s.fileno(), b'file\\n')"
    )
    assert len(read_spec_in_child(spec(SPEC.replace('print("inputs of", n)', line)), {}, 60)) == 2
    captured = capfd.readouterr()
    assert (captured.out, captured.err.splitlines()) == ("", ["é bytes file"] * 2)


@pytest.mark.skipif(ON_WINDOWS, reason="Windows has no pipes with names")
def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "spec.py")
    with pytest.raises(ArgumentError, match=r"spec\.py: no such file, or not a regular one"):
        read_spec_in_child(tmp_path / "spec.py", {}, 60)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("while True: pass", "did not end within 1 s; if it is only slow, raise the limit"),
        ("import time; time.sleep(60)", "did not end within 1 s"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import os; os._exit(0)", "SystemExit: 0"),
        ("import os; os.abort()", f"the child process ended with {'exit code' if ON_WINDOWS else 'SIGABRT'}"),
        ("import ctypes; ctypes.string_at(0)", "access violation" if ON_WINDOWS else "ended with SIGSEGV"),
        ("raise ValueError('planted')", "ValueError: planted"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("inputs(rng, n)", "RecursionError: maximum recursion depth exceeded"),
        ("while True: print('flood' * 1000)", f"RuntimeError: printed more than {SHOWN:,} bytes"),
        ("import sys\n    while True: sys.stdout.buffer.write(b'flood' * 1000)", f"printed more than {SHOWN:,} bytes"),
    ],
)
def test_a_spec_that_does_not_end_well_is_an_error_with_its_line_within_the_limit(spec, line, said):
    path = spec(SPEC.replace('print("inputs of", n)', line))
    began = time.monotonic()
    with pytest.raises(ArgumentError) as error:
        read_spec_in_child(path, {}, 1)
    assert time.monotonic() - began < 20  # the start of the child does not count
    assert str(error.value).startswith(f"{path}:{6 + line.count(chr(10))}: ")
    assert said in str(error.value)


@pytest.mark.skipif(ON_WINDOWS, reason="Windows has no fork")
def test_a_spec_may_fork_processes(spec):
    line = "import multiprocessing as m; p = m.get_context('fork').Process(target=int); p.start(); p.join()"
    assert len(read_spec_in_child(spec(SPEC.replace('print("inputs of", n)', line)), {}, 60)) == 2
