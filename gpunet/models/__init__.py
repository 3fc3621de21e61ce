"""Models: layers in a row, their prediction on raw data, and their files."""

from gpunet.models.files import check_shapes, load, model_from_arrays, refused_as
from gpunet.models.model import Model
from gpunet.models.sequential import MLP, Sequential
from gpunet.models.tabular import tabular_mlp

__all__ = ["MLP", "Model", "Sequential", "check_shapes", "load", "model_from_arrays", "refused_as", "tabular_mlp"]
