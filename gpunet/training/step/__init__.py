"""The training step: recorded once for a batch shape, then replayed, many steps in one call.

    Trainer.fit  -> epochs.py     -> Step.run(steps)                     batches.py supplies the rows
    Trainer.step -> StepCache.run -> Inputs.give(batch) -> Step.run()    inputs.py supplies the batch
                                  |
    Executor.run(steps) runs `Step.work` and the update `steps` times; executors.py chooses the executor:
        eager       Python code                                       eager.py
        numpy       recorded NumPy calls                              host.py, gpunet/recording.py
        native      recorded C++ nodes, one call for all steps        host.py, gpunet/native/, kernels/cpu/*.cpp
        graph       CUDA kernels in graphs                            graph.py, gpunet/cuda/, kernels/*.cu
        persistent  one CUDA kernel for all steps of a small MLP      persistent.py, mlp.py, kernels/mlp_train.cu
                                  |
    Step.work (work.py): load a batch -> model.forward -> loss.value_and_grad -> model.backward -> sums of the metrics
                 (with `accumulate` once per batch, then the sum of the gradients: gradient_sum.py)
    the update:  all-reduce of the gradients over the ranks -> optimizer -> moving average of the weights
    Layers and losses call gpunet.ops, which launch a kernel, record a node, or call NumPy.

Values that change from step to step (step number, learning rate, position in the epoch, sums of the metrics) are in
memory that the nodes read and advance.
"""

from gpunet.training.step.cache import StepCache
from gpunet.training.step.inputs import Inputs
from gpunet.training.step.interfaces import EXECUTORS, ExecutorName
from gpunet.training.step.step import Step

__all__ = ["EXECUTORS", "ExecutorName", "Inputs", "Step", "StepCache"]
