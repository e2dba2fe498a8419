"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from tinygen import ops
from tinygen.engine import no_grad
from tinygen.errors import ShapeError
from tinygen.tensor import Tensor

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The elements of all parameters, one after the other: a vector, through which gradients flow.

    parameters: any number of tensors on one device.  Raises ValueError for none at all.
    """
    parts = [ops.reshape(p, (-1,)) for p in parameters]
    if not parts:
        raise ValueError(
            "parameters_to_vector: at least one parameter is expected, got none; is it a generator already used up?"
        )
    return ops.cat(parts)


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Write the elements of a vector into the parameters, one after the other: the inverse of parameters_to_vector.

    vec: a vector with as many elements as all parameters together.  The values are copied, outside of any graph (in PyTorch the
    parameters become views of the vector).  Raises ShapeError for another number of elements; then nothing is changed.
    """
    parameters = list(parameters)
    total = sum(p.numel() for p in parameters)
    if tuple(vec.shape) != (total,):
        raise ShapeError(
            f"vector_to_parameters: a vector of {total} elements is expected for these {len(parameters)} parameters, got shape "
            f"{tuple(vec.shape)}"
        )
    with no_grad():
        start = 0
        for p in parameters:
            p.copy_(vec[start : start + p.numel()].reshape(p.shape))
            start += p.numel()
