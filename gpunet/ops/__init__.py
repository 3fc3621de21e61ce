"""The operations: pure functions, forward and backward beside each other, on whichever device their arrays live."""

from gpunet.ops.activations import ActivationFunction
from gpunet.ops.batch_norm import batch_norm, batch_norm_backward, batch_statistics
from gpunet.ops.bias_activation import activation_backward, bias_activation, bias_activation_backward
from gpunet.ops.dropout import dropout, dropout_backward
from gpunet.ops.elementwise_loss import binary_cross_entropy, huber, mean_squared_error
from gpunet.ops.gather import gather
from gpunet.ops.glu import glu, glu_backward
from gpunet.ops.layer_norm import layer_norm, layer_norm_backward, rms_norm
from gpunet.ops.linear import linear, linear_backward
from gpunet.ops.matmul import matmul, matmul_backward
from gpunet.ops.product import MatmulPlan, matmul_plan, set_kernel, use_kernel
from gpunet.ops.softmax import softmax, softmax_backward
from gpunet.ops.softmax_cross_entropy import softmax_cross_entropy

__all__ = [
    "ActivationFunction",
    "MatmulPlan",
    "activation_backward",
    "batch_norm",
    "batch_norm_backward",
    "batch_statistics",
    "bias_activation",
    "bias_activation_backward",
    "binary_cross_entropy",
    "dropout",
    "dropout_backward",
    "gather",
    "glu",
    "glu_backward",
    "huber",
    "layer_norm",
    "layer_norm_backward",
    "linear",
    "linear_backward",
    "matmul",
    "matmul_backward",
    "matmul_plan",
    "mean_squared_error",
    "rms_norm",
    "set_kernel",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "use_kernel",
]
