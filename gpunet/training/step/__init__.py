"""The training step: recorded once for a batch shape, then replayed, many steps in one call.

    Trainer.fit  -> epochs.py     -> Step.run(steps)                     batches.py hands out the rows
    Trainer.step -> StepCache.run -> Inputs.give(batch) -> Step.run()    inputs.py hands out the batch
                                  |
    Executor.run(steps) runs `Step.work` and the update, `steps` times, as    executors.py chooses one
        eager     their code                                eager.py
        numpy     their NumPy calls                         host.py, gpunet/recording.py
        native    their C++ nodes, one call for all steps   host.py, gpunet/native/, kernels/cpu/*.cpp
        graph     their CUDA kernels, in graphs             graph.py, gpunet/cuda/, kernels/*.cu
                                  |
    Step.work:   load a batch -> model.forward -> loss.value_and_grad -> model.backward -> sums of the metrics
                 likewise with each of several batches, and the sum of their gradients    gradient_sum.py
    the update:  the sum of the gradients over the ranks -> optimizer -> the moving average of the weights
    Layers and losses call gpunet.ops, which launch a kernel, note a node, or call NumPy.

What changes from step to step (number of the step, learning rate, place in the epoch, sums of the metrics) lies in
memory that the nodes read and advance.
"""

from gpunet.training.step.cache import StepCache
from gpunet.training.step.inputs import Inputs
from gpunet.training.step.interfaces import EXECUTORS, ExecutorName
from gpunet.training.step.step import Step

__all__ = ["EXECUTORS", "ExecutorName", "Inputs", "Step", "StepCache"]
