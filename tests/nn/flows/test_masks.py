"""Masks: which coordinates pass."""

import numpy as np
import pytest

import tinygen as tg
from tinygen.nn import flows
from tinygen.nn.flows import alternating_mask, channel_mask, checkerboard_mask, half_mask, random_half_mask

IMAGES = [(1, 2, 2), (3, 4, 5), (4, 1, 1), (2, 3, 1), (5, 2, 2)]


@pytest.mark.parametrize("n", range(1, 8))
def test_masks_of_vectors(n):
    assert alternating_mask(n).tolist() == [(i + 1) % 2 for i in range(n)]
    assert half_mask(n).tolist() == [i < n // 2 for i in range(n)]
    g = tg.Generator()
    draws = [tuple(random_half_mask(n, generator=g.manual_seed(s)).tolist()) for s in range(30)]
    assert {sum(d) for d in draws} == {n // 2} and len(set(draws)) > (n > 1)
    assert random_half_mask(n, generator=g.manual_seed(3)).tolist() == list(draws[3])


def test_random_halves_are_all_equally_likely():
    """There are 6 halves of 4; a chi-square test of 1200 draws."""
    from scipy.stats import chisquare

    g = tg.Generator().manual_seed(0)
    draws = [tuple(random_half_mask(4, generator=g).tolist()) for _ in range(1200)]
    counts = [draws.count(half) for half in set(draws)]
    assert len(counts) == 6 and chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("parity", range(-2, 4))
@pytest.mark.parametrize("make, sizes", [
    (alternating_mask, [1, 2, 5, (2, 3), *IMAGES]), (half_mask, [1, 2, 5]),
    (checkerboard_mask, IMAGES), (channel_mask, [i for i in IMAGES if i[0] > 1]),
])  # fmt: skip
def test_parities_are_complements(make, sizes, parity):
    for size in sizes:
        mask, other = make(size, parity), make(size, parity + 1)
        assert mask.dtype == tg.bool and mask.shape == ((size,) if isinstance(size, int) else size)
        np.testing.assert_array_equal(mask.numpy(), ~other.numpy())
        np.testing.assert_array_equal(mask.numpy(), make(size, parity + 2).numpy())


@pytest.mark.parametrize("image", IMAGES)
def test_all_neighbours_on_a_checkerboard_differ(image):
    mask = checkerboard_mask(image).numpy()
    assert mask[:, 0, 0].all()
    for axis in (1, 2):
        assert (np.diff(mask.astype(int), axis=axis) != 0).all()
    assert (mask == mask[:1]).all()  # the same in every channel


def test_alternating_mask_is_a_checkerboard_in_every_dimension():
    assert alternating_mask((3, 3)).tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    mask = alternating_mask((2, 3, 4)).numpy().astype(int)
    assert all((np.diff(mask, axis=axis) != 0).all() for axis in range(3))


@pytest.mark.parametrize("image", [i for i in IMAGES if i[0] > 1])
def test_channel_masks_are_whole_halves(image):
    mask = channel_mask(image).numpy()
    channels = mask[:, 0, 0]
    assert (mask == channels[:, None, None]).all()
    assert channels.tolist() == [i < image[0] // 2 for i in range(image[0])]


def test_squeezing_turns_a_checkerboard_into_a_choice_of_channels():
    """The reason for the order in RealNVP: after squeezing, the halves that channel masks part mix both colours."""
    board = checkerboard_mask((1, 4, 6)).double().unsqueeze(0)
    squeezed = flows.Squeeze()(board)[0][0].numpy()
    assert [sorted(set(c.ravel())) for c in squeezed] == [[1], [0], [0], [1]]


def test_errors():
    with pytest.raises(ValueError, match=r"channel_mask: at least 2 channels are expected, got 1; Squeeze\(\) makes 4"):
        channel_mask((1, 2, 2))
    for make in (channel_mask, checkerboard_mask):
        with pytest.raises(ValueError, match=rf"{make.__name__}: image=\(channels, height, width\) .*got \(4, 4\)"):
            make((4, 4))
