"""The output of `explain` and `gpunet info` for a native step."""

import numpy as np
import pytest
from native_steps import X, Y, make

import gpunet as gn
from gpunet.native import find_blas, runtime

pytestmark = pytest.mark.usefixtures("native_cpu")


def test_explain_names_the_executor_its_threads_and_the_blas_library(several_threads):
    for threads in (1, 2):
        several_threads(threads)
        one = make("native", sizes=(64, 64, 3))
        one.step(np.zeros((100, 64), np.float32), np.arange(100) % 3)
        text = str(one.explain())
        assert f"native: C++ nodes in 1 program; threads: {threads}; products by {find_blas().path}" in text


def test_explain_lists_every_node_with_its_shapes_and_division():
    one = make("native", dropout=0.2)
    one.step(X, Y)
    explanation = one.explain()
    names = [node.kernel for node in explanation.nodes]
    assert names.count("product") == 5  # three forward, two gradients of an input
    assert names.count("transposed_product") == 3
    assert names.count("dropout_forward") == names.count("dropout_backward") == 2
    assert names[-3:] == ["squares", "adam", "end_step"]
    assert {node.choice.split(" by ")[-1] for node in explanation.nodes} == {"rows", "slices", "one thread"}
    first = explanation.nodes[0]
    assert (first.kernel, first.shapes, first.flops) == ("product", ((80, 5), (5, 16), (80, 16)), 2 * 80 * 5 * 16)
    assert "NumPy" not in str(explanation)


def test_explain_lists_the_numpy_calls():
    one = gn.Trainer(gn.Sequential(gn.LayerNorm(5), gn.Linear(5, 3, rng=0)), executor="native")
    one.step(X, Y)
    explanation = one.explain()
    in_numpy = [node.kernel for node in explanation.nodes if node.choice == "NumPy"]
    assert len(in_numpy) > 5
    assert "NumPy calls where an operation has no C++ kernel" in explanation.executor
    assert all(name in str(explanation) for name in in_numpy)
    assert {"product", "adam"} <= {node.kernel for node in explanation.nodes}


def test_explain_reports_products_by_numpy_without_a_blas_library(monkeypatch):
    from gpunet.training.step import host

    monkeypatch.setattr(host.native, "find_blas", lambda: None)
    monkeypatch.setattr(runtime, "find_blas", lambda: None)
    pair = [make(executor) for executor in ("native", "numpy")]
    for one in pair:
        for _ in range(5):
            one.step(X, Y)
    assert "products by NumPy" in pair[0].explain().executor
    assert {"dot", "adam"} <= {node.kernel for node in pair[0].explain().nodes}
    np.testing.assert_allclose(pair[0].model.store.params, pair[1].model.store.params, rtol=0, atol=1e-5)


def test_auto_selects_the_native_executor_on_the_cpu():
    one = make("auto")
    one.step(X, Y)
    assert one.explain().executor.startswith("native: ")
