"""Write the history for TensorBoard during training."""

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
    """Write each epoch's row of the history for TensorBoard, with a scalar for each column.

    A resumed training continues its curves; repeated epochs, or another training, replace older values.
    Requires tensorboardX: pip install 'gpunet[tensorboard]'.

    Args:
        folder: the folder of the event files, created if missing; pass it or its parent to `tensorboard --logdir`.

    Example:
        >>> import os
        >>> trainer = gn.Trainer(gn.MLP([2, 2]), callbacks=[gn.TensorBoard("runs/first")])
        >>> history = trainer.fit(np.eye(2), np.array([0, 1]), epochs=3)
        >>> len(os.listdir("runs/first"))  # a file of events
        1
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
            purge_step=trainer.epoch + 1,  # hides older values of this and later epochs
            flush_secs=5,
            filename_suffix=f".{time.time_ns()}",  # otherwise a second file within a second would replace the first
        )

    def on_epoch_end(self, trainer: Training, row: Row) -> None:
        for name, value in row.items():
            if name != "epoch":
                self._writer.add_scalar(name, value, row["epoch"])

    def on_fit_end(self, trainer: Training) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
