"""Models: sequences of layers with prediction on raw data, and model files.

Raw data are host arrays, lists or data frames; a model checks and standardises them. Predictions are host arrays.
"""

from gpunet.models.files import check_shapes, load, model_from_arrays, refused_as
from gpunet.models.model import Model
from gpunet.models.sequential import MLP, Sequential
from gpunet.models.tabular import tabular_mlp

__all__ = ["MLP", "Model", "Sequential", "check_shapes", "load", "model_from_arrays", "refused_as", "tabular_mlp"]
