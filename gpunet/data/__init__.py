"""Load, check, split and standardise data in host memory: the embedded digits, tables, npz and IDX files.

Conventions:

- The first axis counts the samples: features are (n, features...), regression targets (n,) or (n, targets), class
  labels int64 (n,) from 0 to classes - 1.
- Checks accept NumPy arrays, nested lists and data frames (pandas, polars, pyarrow). They return aligned, C-contiguous
  arrays in native byte order, which may share the caller's memory, and never write to it.
- Checked floats are float32 if the input's dtype fits into float32 exactly (booleans, integers of 8 and 16 bits,
  float16, float32), else float64.
- Checks raise `DataError` for unusable values (missing, NaN, infinite, out of range) and empty data, `DTypeError` for
  a wrong dtype, a sparse matrix or an array on a GPU, `ShapeError` for a wrong shape. `name` is the array's name in
  error messages.
"""

from gpunet.data.checks import check_features, check_lengths, check_targets, check_weights
from gpunet.data.dataset import Dataset
from gpunet.data.indices import check_labels
from gpunet.data.labelled import LabelledTable, TableOptions
from gpunet.data.labels import Task
from gpunet.data.sources import digits, load
from gpunet.data.splits import split_indices
from gpunet.data.standardizer import Standardizer
from gpunet.data.table import Column, ReadOptions, Table, TableSchema, read_table

__all__ = [
    "Column",
    "Dataset",
    "LabelledTable",
    "ReadOptions",
    "Standardizer",
    "Table",
    "TableOptions",
    "TableSchema",
    "Task",
    "check_features",
    "check_labels",
    "check_lengths",
    "check_targets",
    "check_weights",
    "digits",
    "load",
    "read_table",
    "split_indices",
]
