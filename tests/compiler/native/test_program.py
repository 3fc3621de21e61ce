"""The schedule of native nodes: concurrent execution gives the results of sequential order."""

import random
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from gpunet import native
from gpunet.native import division
from gpunet.native.division import LARGEST_CHUNK, chunk_rows
from gpunet.native.program import Phase, schedule


@dataclass(frozen=True)
class Array:
    """A (rows, width) array in fake memory."""

    start: int
    rows: int
    width: int = 1

    @property
    def range(self):
        return self.start, self.start + self.rows * self.width

    def cells(self, begin=0, end=None):
        return range(self.start + begin * self.width, self.start + (self.rows if end is None else end) * self.width)


class Node:
    """A node on fake memory: each cell that it writes becomes a term of all cells that it may have read.

    A part of a ROWS node reads only its own rows of the arrays in `by_rows`. A part of any node reads only its own part
    of an array that the node also writes. Of all other arrays each part reads everything.
    """

    calls_blas = False

    def __init__(self, name, division, count, out, by_rows=(), shared=(), grain=0):
        self.kernel = SimpleNamespace(division=division)
        self.name, self.count, self.grain, self.out = name, count, grain or count, out
        self.own, self.others = list(by_rows), list(shared)
        self.reads = [a.range for a in (*by_rows, *shared)]
        self.writes = [out.range]
        self.shared = {a.range for a in shared}

    def run(self, memory, begin, end):
        everything = tuple(memory[cell] for a in self.others for cell in a.cells())
        begin, end = (begin, end) if self.kernel.division != "WHOLE" else (0, self.out.rows)
        for row in range(begin, end):
            own = tuple(memory[cell] for a in self.own for cell in a.cells(row, row + 1))
            for cell in self.out.cells(row, row + 1):
                memory[cell] = hash((self.name, row, own, everything))

    def __repr__(self):
        return f"{self.name}: {self.kernel.division} {self.own} {self.others} -> {self.out}"


def rows(name, out, *by_rows, shared=()):
    return Node(name, "ROWS", out.rows, out, by_rows, shared)


def slices(name, out, *shared, grain=16, in_place=False):
    return Node(name, "SLICES", out.rows, out, [out] if in_place else [], shared, grain)


def whole(name, out, *shared):
    return Node(name, "WHOLE", 1, out, [], shared)


def test_a_node_reads_const_arrays_and_writes_others():
    a, out = np.ones(5, np.float32), np.ones(1, np.float32)
    node = native.Kernel("reduce.cpp", "sum").bind(a, out, 5)
    assert node.reads == [(a.ctypes.data, a.ctypes.data + 20)]
    assert node.writes == [(out.ctypes.data, out.ctypes.data + 4)]


def test_an_array_whose_rows_are_not_those_of_the_batch_is_read_as_a_whole():
    z, bias, out = np.ones((4, 3), np.float32), np.ones(3, np.float32), np.ones((4, 3), np.float32)
    kernel = native.Kernel("bias_activation.cpp", "bias_activation_forward")
    node = kernel.bind(z, bias, None, out, 4, 3, 0.0, count=4)
    assert node.shared == {(bias.ctypes.data, bias.ctypes.data + 12)}


def names(nodes):
    return [[node.name for node in phase.nodes] for phase in schedule(nodes)]


A, B, C, D = (Array(1000 * i, 64) for i in range(4))
WEIGHT, SMALL = Array(5000, 48), Array(6000, 1)


def test_rows_of_the_same_arrays_stay_in_one_phase():
    nodes = [rows("f", B, A), rows("g", C, B), rows("in place", C, C), rows("h", D, C, B)]
    assert names(nodes) == [["f", "g", "in place", "h"]]


def test_rows_that_read_all_rows_of_another_node_wait_for_it():
    assert names([rows("f", B, A), rows("g", C, A, shared=[B])]) == [["f"], ["g"]]
    assert names([rows("f", B, A), rows("g", C, B, shared=[B])]) == [["f"], ["g"]]
    assert names([rows("f", B, A, shared=[C]), rows("g", C, A)]) == [["f"], ["g"]]


def test_shifted_overlapping_arrays_are_not_the_same_rows():
    shifted, half = Array(B.start + 1, 63), Array(B.start, 32)
    assert names([rows("f", B, A), rows("g", Array(2000, 64), Array(B.start + 1, 64))]) == [["f"], ["g"]]
    assert names([rows("f", B, A), Node("g", "ROWS", 64, C, [shifted])]) == [["f"], ["g"]]
    assert names([rows("f", B, A), Node("g", "ROWS", 64, C, [half])]) == [["f"], ["g"]]


def test_batches_with_other_row_counts_are_separate_phases():
    wide = Array(B.start, 32, 2)
    assert names([rows("f", B, A), rows("g", wide, wide)]) == [["f"], ["g"]]


def test_independent_slices_share_a_phase():
    nodes = [slices("f", WEIGHT, A, B), slices("g", C, A), slices("h", D, WEIGHT), slices("i", SMALL, A)]
    assert names(nodes) == [["f", "g", "i"], ["h"]]
    assert names([slices("f", B, A), slices("in place", B, in_place=True)]) == [["f"], ["in place"]]


def test_whole_nodes_run_in_sequence_in_one_phase():
    assert names([whole("f", B, A), whole("g", C, B), whole("h", B, C)]) == [["f", "g", "h"]]


def test_a_node_joins_an_earlier_phase_only_without_conflicts_between():
    nodes = [rows("f", B, A), slices("dw", WEIGHT, B), rows("g", C, B), rows("overwrites", B, A), rows("h", D, C)]
    assert names(nodes) == [["f", "g", "h"], ["dw"], ["overwrites"]]


def test_writes_to_the_same_array_keep_their_order():
    assert names([slices("f", B, A), slices("g", B, C)]) == [["f"], ["g"]]
    assert names([slices("reads", C, B), slices("writes", B, A)]) == [["reads"], ["writes"]]
    assert names([whole("f", B, A), rows("g", B, C), whole("h", B, D)]) == [["f"], ["g"], ["h"]]


@pytest.mark.parametrize("tile", [12, 16])
@pytest.mark.parametrize("threads", [1, 2, 3, 16])
@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 63, 64, 65, 1000, 1024, 1025, 5000, 20000])
def test_the_tasks_of_a_phase_compute_each_row_once_in_the_same_parts_for_any_threads(
    count, threads, tile, monkeypatch
):
    monkeypatch.setattr(division, "tile_rows", lambda: tile)
    phase = Phase("ROWS", count)
    phase.nodes = [rows("f", Array(0, count)), rows("g", Array(count, count))]
    tasks = phase.tasks(threads)
    of_first = [[call[1:] for call in task if call[0].name == "f"] for task in tasks]
    assert [[call[0].name for call in task] for task in tasks] == [["f"] * len(o) + ["g"] * len(o) for o in of_first]
    parts = [part for own in of_first for part in own]
    assert [row for part in parts for row in range(*part)] == list(range(count))
    assert parts == [part[1:] for task in phase.tasks(1) for part in task if part[0].name == "f"]
    assert all(chunk_rows(count) <= end - begin < 2 * chunk_rows(count) for begin, end in parts) or count < 2 * tile
    assert len(tasks) == min(len(parts), threads * -(-count // (threads * LARGEST_CHUNK)))
    assert all(begin % tile == 0 for begin, _ in parts)
    assert all(end - begin < LARGEST_CHUNK + tile or (begin, end) == parts[-1] for begin, end in parts)
    for few in (0, 1, count // 2, max(count - 1, 0)):
        called = [part[1:] for task in phase.tasks(threads, few) for part in task if part[0].name == "f"]
        assert called == [(begin, min(end, few)) for begin, end in parts if begin < few]


def random_program(rng):
    """Return random nodes on arrays, some of which overlap, and the size of their memory."""
    count = rng.choice([40, 64, 96])
    arrays = [Array(200 * i, count, rng.choice([1, 2])) for i in range(5)]
    arrays += [Array(arrays[1].start, count // 2, arrays[1].width), Array(arrays[2].start + 1, count)]
    arrays += [Array(1000 + 10 * i, 3) for i in range(3)] + [Array(1100, count)]
    nodes = []
    for number in range(rng.randint(2, 9)):
        out, *others = rng.sample(arrays, rng.randint(2, 4))
        kind = rng.choice(["rows", "rows", "rows", "slices", "whole"])
        if kind == "rows":
            by_rows = [a for a in others if a.rows == out.rows and rng.random() < 0.8]
            shared = [a for a in others if a not in by_rows]
            if rng.random() < 0.3:
                by_rows.append(out)
            if overlaps(out, shared) or overlaps(out, [a for a in by_rows if a != out]):
                continue  # a kernel that overwrites inputs of its other parts has no defined result
            nodes.append(rows(f"rows{number}", out, *by_rows, shared=shared))
        elif kind == "slices":
            if not overlaps(out, others):
                nodes.append(slices(f"slices{number}", out, *others, in_place=rng.random() < 0.3))
        else:
            nodes.append(whole(f"whole{number}", out, *(a for a in others if not overlaps(out, [a]))))
    return nodes, 1200


def overlaps(out, arrays):
    return any(a.range[0] < out.range[1] and out.range[0] < a.range[1] for a in arrays)


def in_order(nodes, size):
    memory = list(range(size))
    for node in nodes:
        node.run(memory, 0, node.count)
    return memory


def in_phases(nodes, size, rng):
    """Run the calls of each phase's tasks interleaved in random order."""
    memory = list(range(size))
    for phase in schedule(nodes):
        tasks = phase.tasks(rng.choice([1, 2, 5]))
        while tasks := [task for task in tasks if task]:
            node, begin, end = rng.choice(tasks).pop(0)
            node.run(memory, begin, end)
    return memory


def first_wrong(programs=400):
    """Return the first random program whose schedule gives other results than sequential order, or None."""
    for seed in range(programs):
        rng = random.Random(seed)
        nodes, size = random_program(rng)
        if in_phases(nodes, size, rng) != in_order(nodes, size):
            return nodes
    return None


def test_random_programs_give_the_results_of_sequential_order():
    assert first_wrong() is None


CONFLICTS = Phase.conflicts

FAULTS = {
    "no conflicts": ("conflicts", lambda self, node: []),
    "rows that join any rows": ("follows", lambda self, node, conflicts: self.takes(node)),
    "rows that join shared rows": (
        "follows",
        lambda self, node, conflicts: (
            self.takes(node)
            and (
                self.division == "WHOLE" or (self.division == "ROWS" and all(one == other for one, other in conflicts))
            )
        ),
    ),
    "writes that do not wait for reads": (
        "conflicts",
        lambda self, node: [pair for pair in CONFLICTS(self, node) if pair[0] not in node.writes],
    ),
    "reads that do not wait for writes": (
        "conflicts",
        lambda self, node: [pair for pair in CONFLICTS(self, node) if pair[0] not in node.reads],
    ),
    "phases of other row counts": ("takes", lambda self, node: node.kernel.division == self.division),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_in_the_schedule_is_found(fault, monkeypatch):
    monkeypatch.setattr(Phase, *FAULTS[fault])
    assert first_wrong() is not None
