"""Training: the Trainer, the loop over epochs, the recorded step, callbacks, metrics, history and checkpoints.

- Data passed to a Trainer are host arrays, lists or data frames; results are host arrays and floats.
- `arrays` are features, targets and, if there are any, row weights, each (rows, ...).
- A `position` is a number of completed rows of an epoch.
"""

from gpunet.training import metrics
from gpunet.training.callbacks import Callback, Log, ProgressBar, TerminateOnNaN
from gpunet.training.history import History
from gpunet.training.monitors import Checkpoint, EarlyStopping, Monitor
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
