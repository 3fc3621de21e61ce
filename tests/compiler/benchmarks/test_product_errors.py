"""The table of errors in `kernels/README.md` is what `python -m benchmarks.product_errors` prints."""

import re
from pathlib import Path

import pytest

from benchmarks.product_errors import DRAWS, KERNELS, SIZES, errors

README = Path(__file__).parents[3] / "kernels" / "README.md"
NUMBERS = r" (\S+) \|" * (2 + len(KERNELS))


@pytest.mark.parametrize("inputs", DRAWS)
def test_the_table_of_errors_is_up_to_date(inputs):
    rows = re.findall(rf"^\| {re.escape(inputs)} \|{NUMBERS}$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(row[0]) for row in rows] == list(SIZES)
    for k, _, *expected in rows:  # NumPy's error depends on the processor
        assert errors(inputs, int(k))[1:] == pytest.approx(list(map(float, expected)), rel=0.1), (inputs, k)
