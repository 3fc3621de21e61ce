"""Exchange with other libraries: ONNX files, PyTorch weights, DLPack arrays. Each library is imported on first use."""

from gpunet.interop.dlpack import from_dlpack, to_dlpack
from gpunet.interop.onnx import to_onnx
from gpunet.interop.torch import load_torch, to_torch

__all__ = ["from_dlpack", "load_torch", "to_dlpack", "to_onnx", "to_torch"]
