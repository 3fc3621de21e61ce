"""Make torch_trainings.safetensors: PyTorch's weights after the training runs of grouped_trainings.py, in float64.

    python tests/helpers/torch_trainings.py  # needs torch and safetensors

The file holds the batch "x" and "y", the initial weights and running statistics "start/TENSOR", and those at the end of
each training run, "CASE/TENSOR".
"""

from __future__ import annotations

from fnmatch import fnmatchcase

import torch
from grouped_trainings import CASES, REFERENCE, STEPS, Case
from safetensors.torch import save_file
from torch import Tensor, nn


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(5, 8, bias=False), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3)
    ).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        model[1].running_mean.normal_(0, 0.3)
        model[1].running_var.uniform_(0.5, 2)
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.float())  # round to the precision of the file
    return model


def tensors(model: nn.Sequential, prefix: str) -> dict[str, Tensor]:
    kept = {name: a for name, a in model.state_dict().items() if a.is_floating_point()}
    return {f"{prefix}/{name}": a.float().contiguous() for name, a in kept.items()}


def trained(case: Case, x: Tensor, y: Tensor) -> nn.Sequential:
    """Train a network; return it."""
    model = network()
    groups = []
    for name, parameter in model.named_parameters():
        patterns = [pattern for pattern in case.groups if pattern != name and fnmatchcase(name, pattern)]
        own = {
            setting: value for pattern in (*patterns, name) for setting, value in case.groups.get(pattern, {}).items()
        }
        groups.append({"params": [parameter], **own})
        if any(fnmatchcase(name, pattern) for pattern in case.frozen):
            parameter.requires_grad_(False)
    if "1.*" in case.frozen:
        model[1].eval()
    optimizer = getattr(torch.optim, case.optimizer)(groups, **case.options)
    halving = torch.optim.lr_scheduler.StepLR(optimizer, case.schedule or STEPS, 0.5)
    for _ in range(STEPS):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        if case.clip_norm:
            nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], case.clip_norm)
        optimizer.step()
        halving.step()
    return model


def reference() -> dict[str, Tensor]:
    """Return the tensors of the file."""
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(16, 5, generator=generator), torch.arange(16) % 3
    found = {"x": x, "y": y, **tensors(network(), "start")}
    for name, case in CASES.items():
        found |= tensors(trained(case, x.double(), y), name)
    return found


if __name__ == "__main__":
    save_file(reference(), REFERENCE)
