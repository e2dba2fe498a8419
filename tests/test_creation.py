"""New tensors: values, dtypes, devices, and random draws that come from a seed."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinygen as tg


def test_constants(device):
    for make, value in ((tg.zeros, 0), (tg.ones, 1), (tg.empty, 0)):
        for shape in ((2, 3), (), (0,)):
            x = make(*shape, device=device)
            assert x.shape == make(shape, device=device).shape == shape and x.dtype == tg.float32
            assert x.device.type == device and (x == value).all()
            assert make(shape, dtype=tg.int64, device=device).dtype == tg.int64
            assert make(shape, requires_grad=True, device=device).requires_grad
    assert tg.zeros([2, 3]).shape == (2, 3) and tg.ones(tg.tensor(2), np.int64(3)).shape == (2, 3)


def test_like(device):
    x = tg.ones(2, 3, dtype=tg.float64, device=device, requires_grad=True)
    for make in (tg.zeros_like, tg.ones_like, tg.empty_like, tg.rand_like, tg.randn_like):
        y = make(x)
        assert (y.shape, y.dtype, y.device, y.requires_grad) == (x.shape, x.dtype, x.device, False)
        assert make(x, dtype=tg.float32).dtype == tg.float32 and make(x, device="cpu").device.type == "cpu"
    assert tg.full_like(x, 3).tolist() == [[3, 3, 3]] * 2 and tg.full_like(x, 3).dtype == tg.float64
    assert tg.randint_like(tg.zeros(3, dtype=tg.int64, device=device), 4, 5).tolist() == [4, 4, 4]


def test_tensor_copies_and_as_tensor_shares():
    a = np.arange(3.0)
    assert tg.tensor(a).dtype == tg.float64 and not np.shares_memory(tg.tensor(a).array, a)
    for share in (tg.as_tensor, tg.from_numpy):
        assert np.shares_memory(share(a).array, a)
    x = tg.as_tensor([1.0, 2.0])
    assert tg.as_tensor(x) is x and tg.as_tensor(a, dtype=tg.float32).dtype == tg.float32
    assert tg.tensor([tg.tensor(1.0), tg.tensor(2.0)]).tolist() == [1, 2]
    assert tg.tensor(np.float64(2.5)).item() == 2.5 and tg.tensor(range(3)).tolist() == [0, 1, 2]
    y = tg.tensor(tg.ones(2, requires_grad=True))
    assert y.is_leaf and not y.requires_grad


def test_sequences(device):
    np.testing.assert_allclose(tg.arange(0, 1, 0.1, device=device).cpu().numpy(), np.arange(0, 1, 0.1), rtol=1e-6)
    assert tg.arange(3, device=device).tolist() == [0, 1, 2] and tg.arange(3, 0).tolist() == []
    assert tg.linspace(-1, 1, 5, device=device).tolist() == [-1, -0.5, 0, 0.5, 1]
    assert tg.eye(2, 3, device=device).tolist() == [[1, 0, 0], [0, 1, 0]]
    u, v = tg.meshgrid(tg.arange(2, device=device), tg.arange(3, device=device))
    assert u.tolist() == [[0, 0, 0], [1, 1, 1]] and v.tolist() == [[0, 1, 2]] * 2


def test_default_device(device):
    tg.set_default_device(device)
    for x in (
        tg.zeros(2),
        tg.tensor([1.0]),
        tg.arange(3),
        tg.randn(2),
        tg.randperm(3),
        tg.randint(3, (2,)),
        tg.tensor(np.zeros(2)),
    ):
        assert x.device.type == device
    assert tg.get_default_device() == tg.device(device)


# Random draws

DRAWS = {
    "randn": lambda **o: tg.randn(1000, **o),
    "rand": lambda **o: tg.rand(10, 100, **o),
    "randint": lambda **o: tg.randint(0, 10, (1000,), **o),
    "randperm": lambda **o: tg.randperm(1000, **o),
    "normal_": lambda device=None, generator=None: tg.zeros(1000, device=device).normal_(generator=generator),
    "uniform_": lambda device=None, generator=None: tg.zeros(1000, device=device).uniform_(generator=generator),
    "bernoulli_": lambda device=None, generator=None: tg.zeros(1000, device=device).bernoulli_(
        0.5, generator=generator
    ),
    "exponential_": lambda device=None, generator=None: tg.zeros(1000, device=device).exponential_(generator=generator),
    "bernoulli": lambda device=None, generator=None: tg.bernoulli(
        tg.full((1000,), 0.5, device=device), generator=generator
    ),
    "multinomial": lambda device=None, generator=None: tg.multinomial(
        tg.ones(1000, device=device), 1000, generator=generator
    ),
    "normal": lambda device=None, generator=None: tg.normal(tg.zeros(1000, device=device), 1.0, generator=generator),
}


@pytest.mark.parametrize("name", DRAWS)
def test_the_same_seed_gives_the_same_draws(name, device):
    draw = DRAWS[name]
    tg.manual_seed(3)
    first, second = draw(device=device), draw(device=device)
    tg.manual_seed(3)
    assert draw(device=device).equal(first) and not first.equal(second)
    generators = [tg.Generator(device).manual_seed(s) for s in (3, 3, 4)]
    a, b, c = (draw(device=device, generator=g) for g in generators)
    assert a.equal(b) and not a.equal(c)
    tg.manual_seed(3)
    draw(device=device, generator=generators[0])
    assert draw(device=device).equal(first), "a generator of one's own must not touch the default one"


def test_moments(device):
    """Within five standard errors of what the distribution says."""
    n = 100_000
    tg.manual_seed(0)
    cases = {
        "randn": (tg.randn(n, device=device), 0, 1),
        "rand": (tg.rand(n, device=device), 1 / 2, 1 / 12),
        "normal_": (tg.zeros(n, device=device).normal_(2, 3), 2, 9),
        "normal": (tg.normal(2.0, 3.0, (n,)), 2, 9),
        "uniform_": (tg.zeros(n, device=device).uniform_(-1, 3), 1, 16 / 12),
        "bernoulli_": (tg.zeros(n, device=device).bernoulli_(0.3), 0.3, 0.21),
        "bernoulli": (tg.bernoulli(tg.full((n,), 0.3, device=device)), 0.3, 0.21),
        "exponential_": (tg.zeros(n, device=device).exponential_(2.0), 1 / 2, 1 / 4),
        "randint": (tg.randint(2, 6, (n,), device=device).float(), 3.5, 15 / 12),
        "multinomial": (
            tg.multinomial(tg.tensor([1.0, 0.0, 3.0], device=device), n, replacement=True).float(),
            1.5,
            0.75,
        ),
    }
    for name, (x, mean, variance) in cases.items():
        x = x.cpu().numpy().astype(np.float64)
        assert abs(x.mean() - mean) < 5 * math.sqrt(variance / n), name
        fourth = ((x - x.mean()) ** 4).mean()
        assert abs(x.var() - variance) < 5 * math.sqrt((fourth - variance**2) / n) + 1e-9, name


def test_ranges(device):
    assert 0 <= tg.rand(10_000, device=device).min().item() and tg.rand(10_000, device=device).max().item() < 1
    assert set(tg.randint(2, 4, (1000,), device=device).tolist()) == {2, 3}
    assert sorted(tg.randperm(50, device=device).tolist()) == list(range(50))
    p = tg.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]], device=device)
    assert tg.multinomial(p, 20, replacement=True).cpu().numpy()[1].tolist() == [0] * 20
    assert sorted(tg.multinomial(p[0], 2).tolist()) == [1, 2]


def test_without_replacement_the_first_draw_follows_the_weights():
    p = tg.tensor([1.0, 2.0, 5.0]).expand(20_000, 3)
    first = tg.multinomial(p, 2)[:, 0].numpy()
    shares = np.bincount(first, minlength=3) / len(first)
    np.testing.assert_allclose(shares, [1 / 8, 2 / 8, 5 / 8], atol=5 * math.sqrt(0.25 / 20_000))


@pytest.mark.parametrize("device", ["cpu", "strict"])
@pytest.mark.parametrize("dtype", [tg.float16, tg.float32, tg.float64])
def test_draws_of_every_dtype_stay_in_their_interval(dtype, device):
    """Of 50,000 float16 draws from [0, 1) some 12 are nearer to 1 than to the number before it, and those from [2, 3) more."""
    x = tg.zeros(50_000, dtype=dtype, device=device)
    u = tg.rand(50_000, dtype=dtype, device=device)
    assert u.dtype == dtype and bool((u >= 0).all()) and bool((u < 1).all())
    for a, b in ((0.0, 1.0), (2.0, 3.0), (-1.0, 1.0), (-0.3, 0.0), (1000.0, 1001.0)):
        x.uniform_(a, b)
        assert bool((x >= a).all()) and bool((x < b).all()), (a, b)
        mean, error = (a + b) / 2, (b - a) / 12**0.5 / 50_000**0.5
        rounding = float(np.finfo(dtype).eps) * max(abs(a), abs(b))  # draws of float16 near 1000 are halves
        assert abs(x.double().mean().item() - mean) <= 5 * error + rounding  # 5 standard errors
    assert bool((x.uniform_(2, 2) == 2).all())
    with pytest.raises(ValueError, match="a <= b is expected, got a=1, b=0"):
        x.uniform_(1, 0)


@pytest.mark.parametrize("dtype", [tg.float16, tg.float32, tg.float64])
def test_fills_of_every_dtype_have_their_moments(dtype):
    tg.manual_seed(0)
    x = tg.zeros(50_000, dtype=dtype)
    error = 5 / 50_000**0.5  # 5 standard errors; the variance of a square is 2, of an exponential draw's square 20
    assert abs(x.normal_(1, 2).double().mean().item() - 1) < 2 * error
    assert abs(x.double().std().item() - 2) < 2 * error
    x.exponential_(2)
    assert bool((x >= 0).all()) and bool(x.isfinite().all()) and abs(x.double().mean().item() - 0.5) < 0.5 * error
    assert abs(x.bernoulli_(0.3).double().mean().item() - 0.3) < 0.5 * error
    assert tg.randn(3, dtype=dtype).dtype == tg.nn.init.xavier_uniform_(tg.zeros(3, 3, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: tg.zeros(-1), ValueError, r"zeros: sizes must not be negative, got \(-1,\)"),
        (lambda: tg.zeros("ab"), TypeError, r"zeros: sizes must be integers"),
        (lambda: tg.zeros(1.5), TypeError, r"zeros: sizes must be integers, got \(1\.5,\)"),
        (lambda: tg.randn(2, -3), ValueError, r"randn: sizes must not be negative, got \(2, -3\)"),
        (lambda: tg.randint(3, (-1,)), ValueError, r"randint: sizes must not be negative"),
        (lambda: tg.eye(-1), ValueError, r"eye: sizes must not be negative"),
        (lambda: tg.randn(2, dtype=tg.int64), TypeError, r"randn: a floating-point dtype.*int64.*randint"),
        (lambda: tg.randint(5), TypeError, r"randint: a size is needed"),
        (lambda: tg.randint(5, 5, (2,)), ValueError, r"randint: low must be below high, got 5 and 5"),
        (lambda: tg.arange(0, 1, 0), ValueError, r"arange: the step must not be 0"),
        (lambda: tg.tensor([[1], [1, 2]]), ValueError, r"tensor: the data does not form a regular array"),
        (lambda: tg.tensor("abc"), TypeError, r"tensor: numbers or truth values are expected, got str"),
        (lambda: tg.tensor([1, None]), TypeError, r"tensor: numbers or truth values are expected, got list"),
        (lambda: tg.tensor(1j), TypeError, r"tensor: numbers.*complex"),
        (lambda: tg.from_numpy([1.0]), TypeError, r"from_numpy: a NumPy array is expected, got list"),
        (lambda: tg.multinomial(tg.zeros(3), 1), ValueError, r"multinomial: .*positive"),
        (lambda: tg.multinomial(tg.tensor([1.0, -1.0]), 1), ValueError, r"multinomial: .*negative"),
        (lambda: tg.multinomial(tg.ones(3), 4), ValueError, r"multinomial: 4 draws"),
        (lambda: tg.Generator().manual_seed(-1), ValueError, r"manual_seed: .*>= 0, got -1"),
        (lambda: tg.Generator().manual_seed("a"), TypeError, r"manual_seed: an integer is expected, got 'a'"),
        (lambda: tg.manual_seed(1.5), TypeError, r"manual_seed: an integer"),
    ],
)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call()
