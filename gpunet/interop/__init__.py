"""Other people's worlds: ONNX files, PyTorch weights, arrays of other libraries. Each is imported only where used."""

from gpunet.interop.dlpack import from_dlpack, to_dlpack
from gpunet.interop.onnx import to_onnx
from gpunet.interop.torch import load_torch, to_torch

__all__ = ["from_dlpack", "load_torch", "to_dlpack", "to_onnx", "to_torch"]
