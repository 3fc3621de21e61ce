"""Kernels that people read and copy run unchanged: right results, no errors, and faults planted in them are found."""

import functools
import re

import numpy as np
import pytest
from compiler.simulator import corpus, corpus_of_language, corpus_of_products
from compiler.simulator.kernels import buffer, together

from gpunet.simulator.engine import load

BARRIER = "__syncthreads();"
PLANTED = {  # a text, what to put there, and what must be found
    "reduction": (f"{BARRIER}\n  if (blockSize >= 256)", "if (blockSize >= 256)", "race: .* dynamic shared memory"),
    "scan": (f"offset >>= 1;\n    {BARRIER}", "offset >>= 1;", "race: .* dynamic shared memory"),
    "transpose": (f"{BARRIER}\n  x = ", "x = ", "race: .* shared memory tile"),
    "softmax": ("if (idx >= N) return;", "", "out of bounds: .* array inp"),
    "layer_norm": (f"shared[wid] = val;\n  {BARRIER}", "shared[wid] = val;", "race: .* shared memory shared"),
    "gemm": (f"{BARRIER}\n  }}\n  for", "}\n  for", "race: .* shared memory [AB]s"),
    "attention": (f"{BARRIER}\n    }}\n}}", "}\n}", "race: .* dynamic shared memory"),
    "histogram": ("out + i,", "out + i + 1,", "out of bounds: atomic access .* array out"),
    "bitonic_sort": (f"{BARRIER}\n      uint pos", "uint pos", "race: .* shared memory s_key"),
    "stencil": ("threadIdx.x < RADIUS", "threadIdx.x < RADIUS - 1", "uninitialized read: .* shared memory temp"),
    "wmma": ("+ threadIdx.y) * 16", "+ threadIdx.y) * 16 + 8", "out of bounds: .* array (b|c)"),
    "wmma_tf32": ("(b_frag, b, 16)", "(b_frag, b + 1, 16)", "out of bounds: read .* array b"),
    "ptx_product": ('"n"(0) : "memory"', '"n"(1) : "memory"', "(uninitialized read|race): .* shared memory [AB]s"),
    "pipeline_primitives": (
        "__pipeline_wait_prior(1)",
        "__pipeline_wait_prior(2)",
        "(race|uninitialized read): .* stages",
    ),
    "block_pipeline": ("    pipeline.consumer_wait();\n", "", "(race|uninitialized read): .* dynamic shared memory"),
    "block_barrier": ("  bar.wait(std::move(token));\n", "", "race: .* shared memory s"),
    "library_atomics": ("memory_order_acq_rel", "memory_order_relaxed", "race: .* array partial"),
    "group_copies": ("  cg::wait(block);\n", "", "(race|uninitialized read): .* shared memory s"),
    "quantized_rows": ("i < words; i", "i <= words; i", "out of bounds: .* array x"),
    "bodies": (f"{BARRIER}\n  }}\n  globalA", "}\n  globalA", "race: .* dynamic shared memory"),
}
KERNELS = corpus.KERNELS | corpus_of_products.KERNELS | corpus_of_language.KERNELS


def source_of(name, planted):
    source = KERNELS[name]()[0]
    if not planted:
        return source
    right, wrong, _ = PLANTED[name]
    assert source.count(right) == 1
    return source.replace(right, wrong)


@functools.cache
def language_kernels(planted):
    """Return the kernels of `corpus_of_language`, compiled all at once."""
    names = [name for name in corpus_of_language.KERNELS if not planted or name in PLANTED]
    return together({name: source_of(name, planted) for name in names})


def load_kernel(name, planted):
    if name in corpus_of_language.KERNELS:
        return language_kernels(planted)[name]
    kernel = KERNELS[name]()[1]
    expressions = (kernel,) if "<" in kernel else ()
    return load(source_of(name, planted), f"{name}.cu", (), "check", expressions).kernels[kernel]


def run(name, planted=False):
    """Return what is found and the largest error, relative to the largest expected value."""
    _, _, grid, block, shared, arguments, expected = KERNELS[name]()
    packed = [buffer(a) if isinstance(a, np.ndarray) else a for a in arguments]
    grid, block = (np.atleast_1d(n).tolist() for n in (grid, block))
    _, findings = load_kernel(name, planted).inspect(grid, block, packed, shared_bytes=shared)
    errors = [abs(arguments[i] - e.astype(np.float64)).max() / abs(e).max() for i, e in expected.items()]
    return findings, max(errors)


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_is_right_and_has_no_errors(name):
    findings, error = run(name)
    assert [str(finding) for finding in findings if finding.grade == "error"] == []
    assert error < 1e-5


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_an_error(name):
    findings, _ = run(name, planted=True)
    assert any(re.search(PLANTED[name][2], finding.text) for finding in findings if finding.grade == "error"), findings
