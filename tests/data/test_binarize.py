"""The four binarisations: what each does to the pixels, and that none is taken for another."""

import numpy as np
import pytest

import tinygen as tg
from tinygen import data
from tinygen.data import binarize

x = np.random.default_rng(0).random((400, 50)).astype(np.float32)
x[0], x[1] = 0, 1
protocols = pytest.mark.parametrize("protocol", [binarize.grey, binarize.threshold, binarize.dynamic])


def test_grey_leaves_the_values_and_threshold_rounds_them():
    np.testing.assert_array_equal(binarize.grey(x), x)
    np.testing.assert_array_equal(binarize.threshold(x), np.round(x))  # no value is 1/2
    assert binarize.threshold(np.array([0.5])) == 0


def test_dynamic_draws_each_pixel_with_its_grey_value():
    mean = sum(binarize.dynamic(x, seed).astype(np.float64) for seed in range(200)) / 200
    assert (np.abs(mean - x) <= 6 * np.sqrt(x * (1 - x) / 200) + 1e-12).all()  # six standard errors; 0 and 1 exactly
    bits = binarize.dynamic(x, 3)
    assert set(np.unique(bits)) == {0, 1} and bits.dtype == np.float32
    residual = (bits - x)[2:]  # of independent draws: uncorrelated between neighbours
    assert abs((residual[:, 1:] * residual[:, :-1]).mean()) < 6 * 0.17 / np.sqrt(residual[:, 1:].size)


@protocols
def test_kind_dtype_device_and_input_are_kept(protocol, device):
    for dtype in ("float16", "float32", "float64"):
        t = tg.tensor(x.astype(dtype), device=device, requires_grad=True)
        options = {"generator": 1} if protocol is binarize.dynamic else {}
        y = protocol(t, **options)
        assert isinstance(y, tg.Tensor) and not y.requires_grad
        assert y.dtype == t.dtype and y.device == t.device and y.shape == t.shape
        np.testing.assert_array_equal(t.detach().cpu().numpy(), x.astype(dtype))


@protocols
@pytest.mark.parametrize("bad", [2 * x - 1, 255 * x, x * np.nan])
def test_only_grey_values_in_0_1(protocol, bad):
    with pytest.raises(ValueError, match=rf"{protocol.__name__}: grey values in \[0, 1\].*divide bytes by 255"):
        protocol(bad)


@protocols
def test_only_floats(protocol):
    with pytest.raises(TypeError, match=f"{protocol.__name__}: .*uint8"):
        protocol((255 * x).astype(np.uint8))


def test_dynamic_binarization_draws_anew_at_every_access_and_belongs_to_its_seed():
    first, again, other = (data.DynamicBinarization(x, seed) for seed in (0, 0, 1))
    assert len(first) == 400
    a = first[:]
    np.testing.assert_array_equal(again[:], a)
    assert (other[:] != a).any()
    b = first[:]
    assert (b != a).any() and (b != again[np.arange(400)]).sum() == 0  # the second epoch, the same for both
    np.testing.assert_array_equal(a[:2], x[:2])
    tg.manual_seed(7)
    default = data.DynamicBinarization(x)
    drawn = default[:]
    tg.manual_seed(7)
    np.testing.assert_array_equal(default[:], drawn)


def test_dynamic_binarization_in_a_data_loader(device):
    images = data.ImageDataset("x", x.reshape(400, 5, 10), np.arange(400))
    loader = data.DataLoader(data.DynamicBinarization(images, 0), 64, shuffle=True, generator=0, device=device)
    seen = {}
    for _ in range(2):
        for bits, labels in loader:
            assert set(bits.flatten().tolist()) <= {0, 1} and bits.shape[1:] == (5, 10)
            for image, label in zip(bits.cpu().numpy(), labels.tolist()):
                seen.setdefault(label, []).append(image)
    assert sorted(seen) == list(range(400)) and all(len(v) == 2 for v in seen.values())
    assert sum((a != b).any() for a, b in seen.values()) == 398  # all but the black and the white one
    on_device = data.DynamicBinarization(tg.tensor(x, device=device), 0)
    (bits,) = data.DataLoader(on_device, 400)
    assert bits.device == tg.device(device) and (bits.cpu().numpy()[:2] == x[:2]).all()


def test_static_is_the_published_draw(monkeypatch, tmp_path):
    folder = tmp_path / "binarized_mnist"
    folder.mkdir()
    parts = {name: np.zeros((n, 784), np.uint8) for name, n in (("train", 50_000), ("valid", 10_000), ("test", 10_000))}
    np.savez_compressed(folder / "binarized_mnist.npz", **parts)
    monkeypatch.setenv("TINYGEN_DATA", str(tmp_path))
    assert [len(part) for part in binarize.static()] == [50_000, 10_000, 10_000]
