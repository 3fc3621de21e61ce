"""The history as TensorBoard shows it, while it grows."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from gpunet.errors import MissingPackageError
from gpunet.training.callbacks import Callback
from gpunet.training.history import Row

if TYPE_CHECKING:
    from gpunet.training.protocol import Training


class TensorBoard(Callback):
    """Write each epoch's row of the history for TensorBoard: a scalar for each column, over the epochs.

    A training that is resumed goes on with its curves; of another training, or of epochs that are done again,
    TensorBoard shows what was written last. Needs tensorboardX: pip install 'gpunet[tensorboard]'.

    Args:
        folder: where the event files go, made where it is missing; `tensorboard --logdir` takes it or its parent.
    """

    on_every_rank = False
    shown = ("folder",)

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = os.fspath(folder)
        self._writer: Any = None

    def on_fit_begin(self, trainer: Training, total_rows: int) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise MissingPackageError("TensorBoard needs tensorboardX: pip install 'gpunet[tensorboard]'") from None
        self._writer = SummaryWriter(
            self.folder,
            purge_step=trainer.epoch + 1,  # what the folder holds of this epoch and later ones is out of date
            flush_secs=5,
            filename_suffix=f".{time.time_ns()}",  # or a second file within a second would replace the first
        )

    def on_epoch_end(self, trainer: Training, row: Row) -> None:
        for name, value in row.items():
            if name != "epoch":
                self._writer.add_scalar(name, value, row["epoch"])

    def on_fit_end(self, trainer: Training) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
