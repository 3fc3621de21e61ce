"""The operations: pure functions, forward and backward beside each other, on whichever device their arrays live."""

from gpunet.ops._attention import scaled_dot_product_attention, scaled_dot_product_attention_backward
from gpunet.ops._batch_norm import batch_norm, batch_norm_backward, batch_statistics
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
from gpunet.ops._pooling import (
    avg_pool2d,
    avg_pool2d_backward,
    global_avg_pool2d,
    global_avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
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
