"""Make torch_reference.safetensors: weights, inputs and outputs of PyTorch modules, for tests without PyTorch.

    python tests/helpers/torch_reference.py  # needs torch and safetensors

For each module, the file holds its state_dict as "NAME/state/TENSOR", its input "NAME/x" and its output "NAME/y", or an
output for each activation function, "NAME/y/ACTIVATION". Modules are in evaluation mode.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn


class OutputsAlone:
    """Mixin for a recurrent module that returns only its outputs, not its last state."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[0]


class LSTM(OutputsAlone, nn.LSTM):
    pass


class RNN(OutputsAlone, nn.RNN):
    pass


class SelfAttention(nn.MultiheadAttention):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x, x, x, need_weights=False)[0]


class Net(nn.Module):
    """Modules as attributes, which are called in order."""

    def __init__(self, **modules: nn.Module):
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        for module in self.children():
            x = module(x)
        return x


encoder_layer = partial(nn.TransformerEncoderLayer, 4, 2, 6, batch_first=True, norm_first=True)
encoder = partial(nn.TransformerEncoder, num_layers=2, enable_nested_tensor=False)


class SoftClip(nn.Module):
    """A user-defined PyTorch module."""

    def forward(self, x: Tensor) -> Tensor:
        return x / torch.sqrt(1 + (x / 3) ** 2)


ACTIVATIONS = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "gelu_tanh": partial(nn.GELU, approximate="tanh"),
    "identity": nn.Identity,
    "leaky_relu": nn.LeakyReLU,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "selu": nn.SELU,
    "silu": nn.SiLU,
    "soft_clip": SoftClip,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}

BEFORE_ACTIVATION = {
    "BatchNorm1d": (lambda: nn.BatchNorm1d(3), (2, 3, 4)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(2), (2, 2, 3, 4)),
    "Conv1d": (lambda: nn.Conv1d(3, 4, 2), (2, 3, 5)),
    "Conv2d": (lambda: nn.Conv2d(2, 3, 2), (2, 2, 3, 5)),
    "Embedding": (lambda: nn.Embedding(7, 4), (2, 3)),
    "LSTM": (lambda: LSTM(3, 4, batch_first=True), (2, 5, 3)),
    "LayerNorm": (lambda: nn.LayerNorm(4), (2, 4)),
    "Linear": (lambda: nn.Linear(3, 4), (2, 3)),
    "MultiHeadAttention": (lambda: SelfAttention(4, 2, batch_first=True), (2, 3, 4)),
    "RMSNorm": (lambda: nn.RMSNorm(4), (2, 4)),
    "RNN": (lambda: RNN(3, 4, batch_first=True), (2, 5, 3)),
}
"""Layers that gpunet also has, with the shape of their input; an activation and `Linear(4, 2)` follow each."""

NETWORKS = {
    "attention without bias": (lambda: Net(attention=SelfAttention(4, 2, bias=False, batch_first=True)), (2, 3, 4)),
    "batch norm 1d": (
        lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, eps=1e-3), nn.BatchNorm1d(4, affine=False)),
        (5, 3),
    ),
    "batch norm 2d": (
        lambda: nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(2, track_running_stats=False)),
        (5, 2, 2, 3),
    ),
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(4, 6, (3, 2), stride=2, padding=1, groups=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 5, 2, bias=False),
            nn.Tanh(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(5, 3),
        ),
        (2, 4, 9, 9),
    ),
    "encoder": (lambda: encoder(encoder_layer()), (2, 3, 4)),
    "encoder in a network": (
        lambda: Net(emb=nn.Embedding(7, 4), enc=encoder(encoder_layer(), norm=nn.LayerNorm(4)), out=nn.Linear(4, 2)),
        (2, 3),
    ),
    "encoder in a sequence": (
        lambda: nn.Sequential(nn.Embedding(7, 4), encoder(encoder_layer()), nn.Flatten(), nn.Linear(12, 2)),
        (2, 3),
    ),
    "encoder layer": (encoder_layer, (2, 3, 4)),
    "encoder layer as an attribute": (lambda: Net(enc=encoder_layer()), (2, 3, 4)),
    "layer norms": (
        lambda: nn.Sequential(nn.LayerNorm((3, 4), eps=1e-3), nn.Linear(4, 4), nn.ReLU(), nn.LayerNorm(4, bias=False)),
        (2, 3, 4),
    ),
    "linear layers": (
        lambda: nn.Sequential(
            nn.Linear(3, 4), nn.GELU(), nn.Dropout(0.5), nn.Linear(4, 4, bias=False), nn.Linear(4, 2)
        ),
        (5, 3),
    ),
    "rnn of rectifiers": (
        lambda: nn.Sequential(RNN(3, 4, batch_first=True, nonlinearity="relu", bias=False)),
        (2, 5, 3),
    ),
}
"""Modules with the shapes of their inputs."""


def made(module: nn.Module) -> nn.Module:
    """Return the module in evaluation mode, with random parameters and buffers."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.5, generator=generator)
        for buffer in module.buffers():
            buffer.uniform_(0.5, 2, generator=generator) if buffer.is_floating_point() else buffer.fill_(3)
    return module.eval()


def drawn(module: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """Return a random input: indices if the module has an embedding, else numbers."""
    generator = torch.Generator().manual_seed(1)
    if any(isinstance(part, nn.Embedding) for part in module.modules()):
        return torch.randint(0, 7, shape, generator=generator)
    return torch.randn(shape, generator=generator)


def reference() -> dict[str, Tensor]:
    """Return the tensors of the file."""
    tensors: dict[str, Tensor] = {}

    def add(name: str, module: nn.Module, shape: tuple[int, ...], output: str = "y") -> None:
        module = made(module)
        x = tensors[f"{name}/x"] = drawn(module, shape)
        tensors[f"{name}/{output}"] = module(x).detach()
        tensors.update({f"{name}/state/{key}": value for key, value in module.state_dict().items()})

    for name, (make, shape) in NETWORKS.items():
        add(name, make(), shape)
    for activation, function in ACTIVATIONS.items():
        for name, (make, shape) in BEFORE_ACTIVATION.items():
            add(name, nn.Sequential(make(), function(), nn.Linear(4, 2)), shape, f"y/{activation}")
        block = nn.Sequential(encoder_layer(activation=function()), nn.Linear(4, 2))
        add("TransformerEncoderLayer", block, (2, 3, 4), f"y/{activation}")
    return {name: a.clone().contiguous() for name, a in tensors.items()}


if __name__ == "__main__":
    save_file(reference(), Path(__file__).with_suffix(".safetensors"))
