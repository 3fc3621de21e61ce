"""Read parquet files with pandas."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from gpunet.data.table.opening import READING, Source, memory
from gpunet.data.table.sniffing import no_data
from gpunet.data.table.tables import Table, of_frame
from gpunet.errors import DataError, MissingPackageError
from gpunet.files import check_regular

NUMBER = 8
"""Bytes of a number in memory; a parquet file may need fewer."""


def is_parquet(source: str | Path) -> bool:
    """Return whether a source is named like a parquet file."""
    return str(source).lower().endswith(".parquet")


def pandas_module() -> Any:
    """Import pandas, or raise `MissingPackageError`."""
    try:
        import pandas
    except ImportError:
        raise MissingPackageError("tables are read by pandas: pip install 'pandas>=2.2' 'pyarrow>=18'") from None
    return pandas


def read_parquet(path: Path) -> Table:
    """Read a parquet file."""
    pandas = pandas_module()
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise MissingPackageError("parquet files are read by pyarrow: pip install 'pyarrow>=18'") from None
    try:
        check_regular(path)
        file = parquet.read_metadata(path)
        unpacked = sum(file.row_group(i).total_byte_size for i in range(file.num_row_groups))
        if max(unpacked, NUMBER * file.num_rows * file.num_columns) > memory() // READING:
            raise Source(path).too_large()
        frame = pandas.read_parquet(path)
        frame = frame.reset_index() if any(name is not None for name in frame.index.names) else frame
    except (ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as parquet ({error}).") from error
    if not len(frame):
        raise no_data(str(path))
    return replace(of_frame(frame, str(path)), found="parquet")
