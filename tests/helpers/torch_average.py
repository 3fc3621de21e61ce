"""Make torch_average.safetensors: training in PyTorch with averaged weights and gradient accumulation.

    python tests/helpers/torch_average.py  # needs torch and safetensors

52 steps on 80 rows in order. Three batches of 7 rows make a step; the last step of an epoch has 17 rows. The file holds
the data "x" and "y", and the weights "begin/TENSOR", "end/TENSOR" and "average/TENSOR".
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def main() -> None:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    x, y = torch.randn(80, 5), torch.randint(3, (80,))
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    kept = {"x": x, "y": y, **{f"begin/{name}": a.clone() for name, a in model.state_dict().items()}}
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    for _ in range(13):
        for rows in torch.arange(80).split(21):
            optimizer.zero_grad()
            for part in rows.split(7):
                loss = nn.functional.cross_entropy(model(x[part]), y[part])
                (loss * len(part) / len(rows)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.3)
            optimizer.step()
            average.update_parameters(model)
    kept |= {f"end/{name}": a.clone() for name, a in model.state_dict().items()}
    kept |= {f"average/{name}": a.clone() for name, a in average.module.state_dict().items()}
    save_file(kept, Path(__file__).with_suffix(".safetensors"))


if __name__ == "__main__":
    main()
