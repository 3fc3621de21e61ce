"""Data on the host: the embedded digits, tables, npz and IDX files, splits, standardisation, checks of all input."""

from gpunet.data.checks import check_features, check_labels, check_lengths, check_targets, check_weights
from gpunet.data.dataset import Dataset
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
