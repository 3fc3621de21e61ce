"""Operations: pure functions, forward and backward, on the device of their arrays.

Conventions of every operation:

- Arrays are row-major and (rows, features); `...` stands for any leading axes. Images are (rows, channels, height,
  width), sequences (steps, rows, features).
- Floating-point arrays are float32 or float64, all of one dtype; the results have the same dtype.
- `tape` (`gpunet.tape.Tape`) provides the memory of results and scratch arrays, and reuses it in the next step. None
  allocates fresh arrays.
- `out`, `preactivation`, `dweight`, ... are arrays to write a result to. They have its shape and dtype. `out` may be
  the input only where the operation says so.
- `activation` is the name of a function, an `ActivationFunction`, or None for the identity. `saved`, which its
  derivative needs, is the output y or the preactivation, as the function's `saves` says: "output", or "input", which
  needs `preactivation`.
- A loss returns its value, an array of shape () on the device, and the gradient in the shape of its first argument.
  `weight` holds the weights (rows,) of the rows in the mean; None for equal ones.
- Sizes of windows over images are one whole number for both axes, or one for each. Along an axis, windows of
  `kernel_size` elements, which are `dilation` pixels apart, begin every `stride` pixels of the image with `padding`
  pixels on each side. Their number is out = (size + 2·padding - dilation·(kernel_size - 1) - 1) // stride + 1.
- `f_backward(dy, ...)` takes dy, the gradient of the loss with respect to the output y of `f`, in the shape of y. Its
  other arguments are those given to `f`, or its results. Each gradient has the shape of its array. Gradients of
  parameters are fresh arrays by default. A gradient switched off, as by `input_gradient=False` for a first layer or
  `weight_gradient=False` for a frozen one, is not computed; None is returned in its place.
- `kernel` selects the implementation: None (gpunet's choice), "blas" (BLAS on the CPU, cuBLAS and array code on a GPU),
  or a hand-written kernel by name (see `matmul`).
"""

from gpunet.ops._attention import scaled_dot_product_attention, scaled_dot_product_attention_backward
from gpunet.ops._avg_pool2d import avg_pool2d, avg_pool2d_backward, global_avg_pool2d, global_avg_pool2d_backward
from gpunet.ops._batch_norm import batch_norm, batch_norm_backward
from gpunet.ops._batch_statistics import batch_statistics
from gpunet.ops._bias_activation import activation_backward, bias_activation, bias_activation_backward
from gpunet.ops._conv2d import conv2d, conv2d_backward
from gpunet.ops._cosine_embedding import cosine_embedding
from gpunet.ops._cosine_similarity import cosine_similarity, cosine_similarity_backward, most_similar
from gpunet.ops._dropout import dropout, dropout_backward
from gpunet.ops._elementwise_loss import absolute_error, binary_cross_entropy, huber, mean_squared_error, poisson_nll
from gpunet.ops._embedding import embedding, embedding_backward
from gpunet.ops._entity_embedding import entity_embedding, entity_embedding_backward
from gpunet.ops._gather import gather
from gpunet.ops._glu import glu, glu_backward
from gpunet.ops._layer_norm import layer_norm, layer_norm_backward, rms_norm
from gpunet.ops._linear import linear, linear_backward
from gpunet.ops._lstm import lstm, lstm_backward
from gpunet.ops._matmul import matmul, matmul_backward
from gpunet.ops._matmul_plan import MatmulPlan, matmul_plan, use_kernel
from gpunet.ops._max_pool2d import max_pool2d, max_pool2d_backward
from gpunet.ops._rnn import rnn, rnn_backward
from gpunet.ops._softmax import softmax, softmax_backward
from gpunet.ops._softmax_cross_entropy import softmax_cross_entropy
from gpunet.ops.activations import ActivationFunction

__all__ = [
    "ActivationFunction",
    "MatmulPlan",
    "absolute_error",
    "activation_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "batch_statistics",
    "bias_activation",
    "bias_activation_backward",
    "binary_cross_entropy",
    "conv2d",
    "conv2d_backward",
    "cosine_embedding",
    "cosine_similarity",
    "cosine_similarity_backward",
    "dropout",
    "dropout_backward",
    "embedding",
    "embedding_backward",
    "entity_embedding",
    "entity_embedding_backward",
    "gather",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "glu",
    "glu_backward",
    "huber",
    "layer_norm",
    "layer_norm_backward",
    "linear",
    "linear_backward",
    "lstm",
    "lstm_backward",
    "matmul",
    "matmul_backward",
    "matmul_plan",
    "max_pool2d",
    "max_pool2d_backward",
    "mean_squared_error",
    "most_similar",
    "poisson_nll",
    "rms_norm",
    "rnn",
    "rnn_backward",
    "scaled_dot_product_attention",
    "scaled_dot_product_attention_backward",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "use_kernel",
]
