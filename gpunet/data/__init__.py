"""Data on the host: the embedded digits, CSV, npz and IDX files, splits, standardisation, and checks of all input."""

from gpunet.data.checks import check_features, check_labels, check_lengths, check_targets, check_weights
from gpunet.data.dataset import Dataset
from gpunet.data.labels import Task
from gpunet.data.sources import digits, load
from gpunet.data.splits import split_indices
from gpunet.data.standardizer import Standardizer
from gpunet.data.table import Column, TableSchema

__all__ = [
    "Column",
    "Dataset",
    "Standardizer",
    "TableSchema",
    "Task",
    "check_features",
    "check_labels",
    "check_lengths",
    "check_targets",
    "check_weights",
    "digits",
    "load",
    "split_indices",
]
