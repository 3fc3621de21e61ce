"""The thread pool that runs native programs: races, forks, several callers, and the thread count of BLAS."""

import functools
import multiprocessing
import os
import re
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from compiler.native.calls import DTYPES, FOLDER, undefined
from native_steps import X, Y, assert_same_bits, bits, fit, make, use_threads
from threadpoolctl import threadpool_info, threadpool_limits

from gpunet.native.compiler import find_compiler
from gpunet.native.kernel import Kernel
from gpunet.native.program import Program

DRIVER = Path(__file__).with_name("run_driver.cpp")
FLAGS = ("-std=c++17", "-O1", "-g", "-pthread")

RACES = {
    "a barrier without release": (
        "generation_.store(mine + 1, std::memory_order_release)",
        "generation_.store(mine + 1, std::memory_order_relaxed)",
    ),
    "arrivals without acquire": (
        "arrived_.fetch_add(1, std::memory_order_acq_rel)",
        "arrived_.fetch_add(1, std::memory_order_relaxed)",
    ),
    "no barrier after a phase": ("barrier.wait([&] { skip_serial(program, phase, true); });", ""),
    "a job without a wait": ("while (!spin(done, SPINS)) sched_yield();", ""),
}


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch):
    monkeypatch.setenv("GPUNET_DEVICE", "cpu")


def compile_object(source: Path, target: Path, *flags: str) -> str:
    command = [*find_compiler().command, *FLAGS, *flags, "-c", str(source), "-o", str(target)]
    subprocess.run(command, check=True)
    return str(target)


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Return a function that builds the driver with a given source of the pool; caches the driver's object file."""
    folder = tmp_path_factory.mktemp("driver")
    driver_of = functools.cache(lambda *flags: compile_object(DRIVER, folder / f"driver{len(flags)}.o", *flags))

    def link(source: Path, target: Path, *flags: str) -> Path:
        program = target / "driver"
        objects = driver_of(*flags), compile_object(source, target / "run.o", *flags)
        command = [*find_compiler().command, *FLAGS, *flags, *objects, "-o", str(program)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode and re.search("cannot find|not found", done.stderr):
            pytest.skip("the compiler has no ThreadSanitizer")
        assert done.returncode == 0, done.stderr
        return program

    return link


def drive(program: Path, what: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1"}
    done = subprocess.run([str(program), what], capture_output=True, text=True, timeout=120, env=environment)
    if "unexpected memory mapping" in done.stderr:
        pytest.skip("ThreadSanitizer does not run on this kernel")
    return done


def test_programs_on_several_threads_have_no_race_and_match_one_thread(build, tmp_path):
    done = drive(build(FOLDER / "run.cpp", tmp_path, "-fsanitize=thread"), "threads")
    assert (done.returncode, done.stdout) == (0, "all programs done\n"), done.stdout + done.stderr


def test_a_forked_child_has_its_own_threads_and_the_blas_setting_restored(build, tmp_path):
    done = drive(build(FOLDER / "run.cpp", tmp_path), "forks")
    assert (done.returncode, done.stdout) == (0, "all programs done\n"), done.stdout + done.stderr


def test_a_program_runs_on_fewer_threads_if_the_system_refuses_more(build, tmp_path):
    start = "pthread_create(&id, nullptr, serve, worker)"
    source = (FOLDER / "run.cpp").read_text()
    assert source.count(start) == 1
    refused = tmp_path / "run.cpp"
    refused.write_text(
        source.replace(start, f"(workers_ < 1 ? {start} : EAGAIN)").replace(
            "#include <pthread.h>", "#include <cerrno>\n#include <pthread.h>"
        )
    )
    done = drive(build(refused, tmp_path, "-fsanitize=thread"), "threads")
    assert (done.returncode, done.stdout) == (0, "all programs done\n"), done.stdout + done.stderr


@pytest.mark.parametrize("fault", RACES)
def test_a_planted_race_is_found(fault, build, tmp_path):
    right, wrong = RACES[fault]
    source = (FOLDER / "run.cpp").read_text()
    assert right in source, "run.cpp has changed: update the planted fault"
    planted = tmp_path / "run.cpp"
    planted.write_text(source.replace(right, wrong))
    done = drive(build(planted, tmp_path, "-fsanitize=thread"), "threads")
    assert done.returncode != 0, done.stdout


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_denormals_are_zero_in_a_program_and_nowhere_else(dtype, threads):
    denormal = np.full((4, 8), np.finfo(dtype).smallest_subnormal * 8)
    doubled = undefined(8, dtype)
    node = Kernel("reduce.cpp", "sum_columns").bind(denormal, doubled, *denormal.shape, count=8, grain=2)
    program = Program([node])
    for _ in range(20):  # so that every thread gets a task
        program.run(threads=threads)
        assert not doubled.any()
    assert denormal[0, 0] / dtype.type(2) != 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_blas_threads_that_start_in_a_forked_child_do_not_flush_denormals():
    denormal = np.full((2048, 256), np.finfo(np.float32).smallest_subnormal * np.float32(8))
    node = Kernel("reduce.cpp", "sum_columns").bind(
        denormal, undefined(256, np.float32), 2048, 256, count=256, grain=64
    )
    with threadpool_limits(2, "blas"):
        np.dot(denormal, np.eye(256, dtype=np.float32))
        child = os.fork()
        if child == 0:
            Program([node]).run(threads=1)
            os._exit(0 if np.dot(denormal, np.eye(256, dtype=np.float32)).all() else 1)
        assert os.waitpid(child, 0)[1] == 0


def blas_threads():
    return [info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"]


@pytest.mark.parametrize("limit", [1, 2])
def test_a_native_call_restores_the_blas_thread_count(limit, monkeypatch):
    use_threads(monkeypatch, 2)
    with threadpool_limits(limit, "blas"):
        one = make("native")
        fit(one, epochs=2)
        one.step(X, Y)
        one.model.outputs(X)
        assert set(blas_threads()) == {limit}


def test_overlapping_trainings_restore_the_blas_thread_count(monkeypatch):
    use_threads(monkeypatch, 2)
    with threadpool_limits(2, "blas"):
        together(lambda: fit(make("native"), epochs=20), count=3)
        assert set(blas_threads()) == {2}


def together(work, count):
    """Call a function in several Python threads concurrently; return the results."""
    results, errors = [], []
    gate = threading.Barrier(count)

    def run():
        try:
            gate.wait()
            results.append(work())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    return results


def large(threads_seed=0):
    """Return a training whose steps have several tasks per phase."""
    one = make("native", sizes=(40, 64, 10), dropout=0.2, seed=threads_seed)
    x = np.random.default_rng(threads_seed).standard_normal((300, 40)).astype(np.float32)
    one.fit(x, np.arange(300) % 10, epochs=6, batch_size=100)
    return one


def test_concurrent_trainings_match_sequential_ones_bit_for_bit(monkeypatch):
    alone = large()
    use_threads(monkeypatch, 3)
    for one in together(large, count=4):
        assert_same_bits(alone, one)


def test_concurrent_predictions_of_one_model_agree(monkeypatch):
    use_threads(monkeypatch, 2)
    model = make("native").model
    expected = {rows: model.outputs(X[:rows]) for rows in (80, 33, 5)}  # BLAS may round differently for each size
    for outputs in together(lambda: [model.outputs(X[:rows]) for rows in (80, 33, 80, 5) * 20], count=3):
        for y in outputs:
            np.testing.assert_array_equal(y, expected[len(y)])


def in_child(work):
    """Return whether a function with assertions succeeds in a forked child."""
    process = os.fork()
    if process == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.01)
    os.kill(process, 9)
    os.waitpid(process, 0)
    return False


FORKS_WITH_THREADS = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@FORKS_WITH_THREADS
def test_parent_and_child_of_a_fork_continue_a_training(monkeypatch):
    use_threads(monkeypatch, 3)
    alone, one = make("native", dropout=0.2), make("native", dropout=0.2)
    for trainer in (alone, one):
        fit(trainer, epochs=3)
    fit(alone, epochs=3)

    def go_on():
        fit(one, epochs=3)
        assert_same_bits(alone, one)
        np.testing.assert_array_equal(one.model.outputs(X), alone.model.outputs(X))

    assert in_child(go_on)
    go_on()


@FORKS_WITH_THREADS
def test_a_child_forked_while_another_thread_trains_can_train(monkeypatch):
    use_threads(monkeypatch, 2)
    expected = bits(large())
    stop = threading.Event()

    def keep_on():
        while not stop.is_set():
            large()

    thread = threading.Thread(target=keep_on)
    thread.start()

    def train():
        for a, b in zip(bits(large()), expected, strict=True):
            np.testing.assert_array_equal(a, b)

    try:
        assert all(in_child(train) for _ in range(3))
    finally:
        stop.set()
        thread.join()


def train_in_pool(seed):
    return bits(large(seed))[0]


@FORKS_WITH_THREADS
def test_forked_multiprocessing_workers_train(monkeypatch):
    use_threads(monkeypatch, 2)
    expected = [train_in_pool(seed) for seed in range(3)]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        results = pool.map_async(train_in_pool, range(3)).get(timeout=60)
    for a, b in zip(results, expected, strict=True):
        np.testing.assert_array_equal(a, b)
