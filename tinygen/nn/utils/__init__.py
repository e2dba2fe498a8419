"""What is done with a module's parameters from outside (torch.nn.utils).

clip: gradients that are not to be too long.  vectors: all parameters as one vector.  modes: evaluation inside a training.
parametrize: parameters that are computed from others; parametrizations: some that are ready to use.
weight_norm, spectral_norm: PyTorch's older ways to say the latter two, by hooks.
"""

from tinygen.nn.utils import parametrizations, parametrize
from tinygen.nn.utils.clip import clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm
from tinygen.nn.utils.modes import evaluating
from tinygen.nn.utils.polar import remove_weight_norm, weight_norm
from tinygen.nn.utils.spectral import remove_spectral_norm, spectral_norm
from tinygen.nn.utils.vectors import parameters_to_vector, vector_to_parameters

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "evaluating",
    "get_total_norm",
    "parameters_to_vector",
    "parametrizations",
    "parametrize",
    "remove_spectral_norm",
    "remove_weight_norm",
    "spectral_norm",
    "vector_to_parameters",
    "weight_norm",
]
