"""Training: the loop over epochs, what happens beside it, and what it measured."""

from gpunet.training import metrics
from gpunet.training.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    Log,
    Monitor,
    ProgressBar,
    TerminateOnNaN,
)
from gpunet.training.history import History
from gpunet.training.tensorboard import TensorBoard
from gpunet.training.trainer import Trainer

__all__ = [
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "History",
    "Log",
    "Monitor",
    "ProgressBar",
    "TensorBoard",
    "TerminateOnNaN",
    "Trainer",
    "metrics",
]
