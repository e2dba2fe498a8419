"""What is built on the engine's backward pass.

    gradients    grad, backward
    functional   whole Jacobians and Hessians, and their products with vectors
    function     Function: an operator of your own with its backward pass, in PyTorch's form
    check        gradcheck, gradgradcheck: the derivatives against finite differences

Arguments that mean the same in all of them: func, a function of the inputs, tensors; create_graph, record the pass, for
derivatives of what it returns; strict, raise RuntimeError where a result does not depend on an input, instead of zeros.

and from elsewhere: modes (no_grad ...), anomaly detection, checkpointing, and `trace`, the backward pass step by step.
"""

from typing import TYPE_CHECKING

from tinygen import missing
from tinygen.anomaly import AnomalyError, detect_anomaly, set_detect_anomaly
from tinygen.autograd import check, function, functional, gradients
from tinygen.autograd.check import gradcheck, gradgradcheck
from tinygen.autograd.function import Function
from tinygen.autograd.functional import hessian, hvp, jacobian, jvp, vhp, vjp
from tinygen.autograd.gradients import accumulate, backward, grad
from tinygen.modes import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from tinygen.recompute import checkpoint, checkpoint_invertible
from tinygen.tracing import trace

__all__ = [
    "AnomalyError",
    "Function",
    "backward",
    "checkpoint",
    "checkpoint_invertible",
    "detect_anomaly",
    "enable_grad",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "hessian",
    "hvp",
    "inference_mode",
    "is_grad_enabled",
    "jacobian",
    "jvp",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
    "trace",
    "vhp",
    "vjp",
]

if not TYPE_CHECKING:
    __getattr__ = missing.attribute_of(__name__)
