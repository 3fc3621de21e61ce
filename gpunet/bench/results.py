"""Hold the results of a benchmark, and read and write their JSON file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any, Literal

from gpunet.arguments import shown
from gpunet.bench.ceilings import Ceilings
from gpunet.bench.timing import Spread
from gpunet.errors import DataError
from gpunet.files import check_regular, write_bytes
from gpunet.formats import parse_json, read_as
from gpunet.simulator import Counts

FORMAT, VERSION = "gpunet bench", 1


@dataclass(frozen=True)
class Row:
    """The results of one kernel in one case; see `Case`.

    Attributes:
        tiles: tiles and splits of the plans of its matrix products, such as "32x32x16/8"; "" if there are none.
        error: see `gate.relative_error`; None if not compared.
        cache: "warm" or "cold": whether its operands were in the GPU's L2 cache; "" on other devices.
        speedup: relative to the library, in the same rounds; None for the library itself.
        of_ceiling: fraction of the speed that the measured ceilings allow.
        counts: of a call on the simulated GPU; None if it launches no gpunet kernel.
    """

    op: str
    variant: str
    size: str
    dtype: str
    flops: int
    nbytes: int
    unit: Literal["FLOP/s", "B/s"]
    kernel: str
    tiles: str = ""
    fault: str = ""
    error: float | None = None
    cache: str = ""
    seconds: Spread | None = None
    speedup: Spread | None = None
    of_ceiling: float | None = None
    counts: Counts | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """The key of the measurement, which is the same in every run."""
        return self.op, self.variant, self.size, self.dtype, self.kernel, self.cache

    @property
    def speed(self) -> float | None:
        """FLOP/s or B/s, as `unit` says."""
        work = self.flops if self.unit == "FLOP/s" else self.nbytes
        return work / self.seconds.median if self.seconds else None


@dataclass(frozen=True)
class Report:
    """The results of a run; for the environment see `gpunet.bench.environment`."""

    environment: dict[str, Any]
    ceilings: Ceilings | None
    rows: Sequence[Row]

    def write(self, path: Path) -> None:
        """Write the report as JSON, atomically."""
        text = json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, indent=1)
        write_bytes(path, f"{text}\n".encode())

    @classmethod
    def read(cls, path: Path) -> Report:
        """Return a report that `write` wrote; raise `DataError` if it is damaged, or of another format or version."""
        check_regular(path)
        try:
            file = read_as(dict[str, Any], parse_json(path.read_bytes()))
            if file.pop("format", None) != FORMAT:
                raise ValueError("it has another format")
            if (version := file.pop("version", None)) != VERSION:
                raise ValueError(f"format version {shown(version)}; this gpunet reads {VERSION}")
            report = read_as(cls, file)
            if any(
                spread and min(astuple(spread)) <= 0 for row in report.rows for spread in (row.seconds, row.speedup)
            ):
                raise ValueError("a time is not above 0")
            if any(min(row.flops, row.nbytes) < 0 or row.speed == 0 for row in report.rows):
                raise ValueError("a number of FLOPs or bytes is not above 0")
            return report
        except ValueError as error:
            raise DataError(f"{path}: not a result file of `gpunet bench` ({error}).") from None
