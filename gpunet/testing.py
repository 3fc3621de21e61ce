"""Check a CUDA kernel in a test, on the simulated GPU, which needs g++ and no GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpunet.bench.check import check
from gpunet.bench.spec import even_sizes, read_cases
from gpunet.bench.spec_child import read_spec_in_child
from gpunet.errors import ArgumentError, warn


def check_kernel(source: str | Path, spec: str | Path | None = None, *, limit: float = 60.0, **names: Any) -> None:
    """Run a kernel in check mode as `gpunet check` does, and compare what it computes with a reference.

        def test_scale():
            check_kernel(
                "my.cu",
                kernel="scale",
                block=256,
                grid=lambda n: -(-n // 256),
                cases="auto",
                inputs=lambda rng, n: {"x": rng.standard_normal(n, np.float32), "n": n},
                reference=lambda x, n: {"x": 2 * x},
            )

    The kernel runs in a child process, so a script must call this under `if __name__ == "__main__":`.

    Args:
        spec: the file of a spec (see `gpunet.bench.spec`).
        limit: time limit in seconds for each launch, and for running the file of a spec.
        **names: the contents of a spec, in place of a file.

    Warns:
        GpunetWarning: findings of the grade "warning", or sizes that are all multiples of the block.

    Raises:
        AssertionError: findings that are errors, such as races, accesses out of bounds and wrong results.
        GpunetError: the spec does not fit the kernel, the source does not compile, or there is no compiler.
    """
    if spec is not None and names:
        raise ArgumentError(f"{spec}: give the file of a spec or its names ({', '.join(names)}), not both.")
    cases = read_cases(names, Path(source)) if spec is None else read_spec_in_child(Path(spec), {}, limit)
    if notice := even_sizes(cases):
        warn(notice)
    failed = []
    for case in cases:
        title = ", ".join(filter(None, (case.kernel, case.label)))
        for finding in check(Path(source), case, limit)[1]:
            if finding.grade == "error":
                failed.append(f"{title}: {finding.described}")
            elif finding.grade == "warning":
                warn(f"{title}: {finding.described}")
    if failed:
        raise AssertionError("\n".join(failed))
