"""The training step: recorded once for a batch shape, then replayed, many steps in one call.

    Trainer.fit -> epochs.py -> Step.run(steps)             Trainer.step -> Inputs.give(batch) -> Step.run()
                                    |
                                Executor.run(steps)
        eager       the code below, each time
        numpy       its NumPy calls                         gpunet/recording.py
        native      its C++ nodes, one call for all steps   gpunet/native/, kernels/cpu/*.cpp
        graph       its CUDA kernels, a graph of steps      gpunet/cuda/, kernels/*.cu
                                    |
    one step:   load a batch -> model.forward -> loss.value_and_grad -> model.backward -> (sum over ranks)
                -> optimizer, metrics' sums. Layers call gpunet.ops, which launch a kernel, note a node or call NumPy.

What changes from step to step (number of the step, learning rate, place in the epoch, sums of the metrics) lies in
memory that the nodes read and advance.
"""

from gpunet.training.step.cache import StepCache
from gpunet.training.step.inputs import Inputs
from gpunet.training.step.interfaces import EXECUTORS, ExecutorName
from gpunet.training.step.step import Step

__all__ = ["EXECUTORS", "ExecutorName", "Inputs", "Step", "StepCache"]
