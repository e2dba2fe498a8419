"""repeat, tile and repeat_interleave own their memory, as in PyTorch: a change of the result never reaches the input."""

import numpy as np
import pytest

import tinygen as tg


@pytest.mark.parametrize(
    "repeated",
    [
        lambda x: x.repeat(3, 1),
        lambda x: x.repeat(1, 1),
        lambda x: x.tile(2, 3),
        lambda x: tg.tile(x, (1,)),
        lambda x: x.repeat_interleave(2, 0),
        lambda x: x.repeat_interleave(1, 1),
    ],
)
def test_the_result_can_be_changed_without_the_input(repeated):
    x = tg.arange(4.0).reshape(1, 4)
    y = repeated(x)
    y[0, 0] = 99.0
    y.mul_(2)
    np.testing.assert_array_equal(x.numpy(), [[0, 1, 2, 3]])
    assert y[0, 0].item() == 198
    assert np.count_nonzero(y.numpy() == 198) == 1
