"""DLPack both ways: the same memory, seen by two libraries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

import tinygen as tg

try:
    import torch
except ImportError:
    torch = None

arrays = hnp.arrays(
    hnp.floating_dtypes(sizes=(16, 32, 64), endianness="=") | hnp.integer_dtypes(endianness="=") | hnp.boolean_dtypes(),
    hnp.array_shapes(min_dims=0, max_dims=3, max_side=4),
    elements={"allow_nan": False},
)


@given(array=arrays)
def test_numpy_and_back(array):
    array = array.T if array.ndim > 1 else array[::-1] if array.ndim else array
    x = tg.from_dlpack(array)
    assert type(x) is tg.Tensor and x.dtype == array.dtype and x.tolist() == array.tolist()
    back = np.from_dlpack(x)
    assert np.shares_memory(back, array) or array.size == 0
    assert back.strides == array.strides or array.size <= 1
    x.zero_()
    assert not array.any() and x.__dlpack_device__() == array.__dlpack_device__()


@pytest.mark.skipif(torch is None, reason="needs PyTorch")
@given(array=arrays)
def test_pytorch_and_back(array):
    theirs = torch.from_numpy(array.copy())
    ours = tg.from_dlpack(theirs)
    assert ours.tolist() == theirs.tolist() and str(ours.dtype) == str(theirs.dtype).removeprefix("torch.")
    back = torch.from_dlpack(ours)
    back.zero_()
    assert not ours.any() and not theirs.any() and back.dtype == theirs.dtype


@pytest.mark.skipif(torch is None, reason="needs PyTorch")
def test_what_pytorch_does_not_share():
    with pytest.raises((BufferError, RuntimeError), match="require"):
        tg.from_dlpack(torch.ones(2, requires_grad=True))
    with pytest.raises((BufferError, RuntimeError, TypeError)):
        tg.from_dlpack(torch.ones(2, dtype=torch.bfloat16))


def test_gradients_are_refused_and_others_explained():
    x = tg.ones(3, requires_grad=True)
    for y in (x, x * 2):
        with pytest.raises(BufferError, match=r"requires a gradient, which would be lost; use detach\(\)"):
            np.from_dlpack(y)
    assert np.from_dlpack((x * 2).detach()).tolist() == [2, 2, 2]
    same = tg.from_dlpack(x)
    assert not same.requires_grad and np.shares_memory(same.numpy(), x.detach().numpy())
    with pytest.raises(TypeError, match=r"an array with __dlpack__ is expected, got list; use tensor"):
        tg.from_dlpack([1.0])


def test_on_a_gpu():
    if not tg.cuda.is_available():
        pytest.skip("no GPU")
    x = tg.arange(4.0, device="cuda")
    y = tg.from_dlpack(x.array)
    y.zero_()
    assert not x.any() and y.device == x.device
