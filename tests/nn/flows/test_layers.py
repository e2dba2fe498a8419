"""What single transforms promise beyond being bijections."""

import copy

import numpy as np
import pytest

import tinygen as tg
from tinygen.nn import flows

# ActNorm


def data(*shape, seed=0):
    """Channels with means and deviations of their own."""
    g = np.random.default_rng(seed)
    x = g.normal(size=shape)
    spread = (shape[1], *(1,) * (len(shape) - 2))
    return tg.tensor(x * g.uniform(0.1, 5, spread) + g.normal(size=spread) * 3)


@pytest.mark.parametrize("shape", [(50, 3), (7, 2, 4, 3), (5, 4, 6)])
def test_the_first_batch_comes_out_normalised(shape):
    layer, x = flows.ActNorm(shape[1]).double(), data(*shape)
    y, logdet = layer(x)
    axes = tuple(d for d in range(x.ndim) if d != 1)
    np.testing.assert_allclose(y.detach().numpy().mean(axes), 0, atol=1e-13)
    np.testing.assert_allclose(y.detach().numpy().std(axes), 1, rtol=1e-13)
    pixels = np.prod(shape[2:])
    expected = -pixels * np.log(x.numpy().std(axes)).sum()
    np.testing.assert_allclose(logdet.detach().numpy(), expected, rtol=1e-12)


def test_it_is_set_once_and_only_in_training():
    layer, x = flows.ActNorm(2), data(20, 2).float()
    for mode in (layer.eval(), layer.train()):  # evaluation before training leaves it the identity
        out = mode(x[:0])[0] if mode.training else mode(x)[0]
        assert not layer.initialized and (out.shape[0] == 0 or (out == x).all())
    layer.inverse(x)
    assert not layer.initialized
    first = layer(x)[0]
    assert layer.initialized
    state = {k: v.clone() for k, v in layer.state_dict().items()}
    other = 10 * x + 1
    np.testing.assert_allclose(layer(other)[0].detach().numpy(), layer.eval()(other)[0].detach().numpy())
    assert all((v == state[k]).all() for k, v in layer.state_dict().items())
    assert (layer(x)[0] == first).all()


def test_the_parameters_are_trained_and_stay_the_same_objects():
    layer = flows.ActNorm(2)
    before = list(layer.parameters())
    y, logdet = layer(data(20, 2).float())
    assert all(p is q for p, q in zip(before, layer.parameters(), strict=True))
    (y.square().sum() - logdet.sum()).backward()
    assert layer.bias.grad.shape == (2,) and layer.log_scale.grad.any()


def test_state_dict_keeps_that_it_is_set():
    layer, x = flows.ActNorm(2), data(20, 2).float()
    y = layer(x)[0]
    assert list(layer.state_dict()) == ["bias", "log_scale", "initialized"]
    other = flows.ActNorm(2)
    other.load_state_dict(layer.state_dict())
    assert other.initialized and (other(5 * x)[0] == layer(5 * x)[0]).all()
    fresh = flows.ActNorm(2).state_dict()
    other.load_state_dict(fresh)
    assert not other.initialized
    again = copy.deepcopy(layer)
    assert again.initialized and (again(x)[0] == y).all()
    with tg.no_grad():
        again.bias += 1.0
    assert (layer(x)[0] == y).all()


def test_it_moves_with_its_module(device):
    layer, x = flows.ActNorm(2).to(device, tg.float64), data(20, 2).to(device)
    y, logdet = layer(x)
    for t in (y, logdet, layer.bias, layer.log_scale):
        assert t.dtype == tg.float64 and t.device.type == device
    assert layer.initialized.dtype == tg.bool and layer.initialized.device.type == device
    layer.float()
    assert layer.initialized.dtype == tg.bool and layer(x.float())[0].dtype == tg.float32


@pytest.mark.parametrize("x", [tg.zeros(5, 2), tg.full((5, 2), 1 / 3), tg.tensor([[1e6, -3.0]])])
def test_a_channel_that_does_not_vary_keeps_its_scale(x):
    """Its deviation is 0, or rounding: nothing to divide by."""
    layer = flows.ActNorm(2)
    y, logdet = layer(x)
    assert not layer.log_scale.any() and not logdet.any()
    np.testing.assert_allclose(y.detach().numpy(), 0, atol=1e-6 * float(x.abs().max()))


# InvertibleConv1x1


@pytest.mark.parametrize("channels", [1, 2, 5, 12])
def test_it_starts_as_a_rotation(channels):
    """WᵀW = 1, so that no channel is stretched; a random one, and the generator's."""
    make = lambda seed: flows.InvertibleConv1x1(channels, generator=tg.Generator().manual_seed(seed))
    w = make(0).matrix().detach().numpy()
    np.testing.assert_allclose(w.T @ w, np.eye(channels), atol=1e-6)  # its factors are float32
    assert (make(0).matrix() == make(0).matrix()).all()
    assert channels == 1 or not (make(0).matrix() == make(1).matrix()).all()
    _, logdet = make(0)(tg.randn(2, channels, 3, 3))
    np.testing.assert_allclose(logdet.detach().numpy(), 0, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 4, 2, 5), (3, 4), (3, 4, 6)])
def test_it_is_the_matrix_at_every_pixel(shape):
    layer = flows.InvertibleConv1x1(4).double()
    with tg.no_grad():
        for p in layer.parameters():
            p += 0.3 * tg.randn(p.shape, dtype=tg.float64)
    w, x = layer.matrix().detach().numpy(), np.random.default_rng(0).normal(size=shape)
    y, logdet = layer(tg.tensor(x))
    np.testing.assert_allclose(y.detach().numpy(), np.einsum("ij,nj...->ni...", w, x), atol=1e-13)
    pixels = np.prod(shape[2:])
    np.testing.assert_allclose(logdet.detach().numpy(), pixels * np.linalg.slogdet(w)[1], rtol=1e-12)
    back, logdet = layer.inverse(tg.tensor(x))
    expected = np.einsum("ij,nj...->ni...", np.linalg.inv(w), x)
    np.testing.assert_allclose(back.detach().numpy(), expected, atol=1e-13 * np.linalg.cond(w))
    np.testing.assert_allclose(logdet.detach().numpy(), -pixels * np.linalg.slogdet(w)[1], rtol=1e-12)


def test_no_step_makes_it_singular():
    """Whatever the parameters are, |det W| = exp Σ log|s|; the unused halves of L and U do nothing."""
    layer = flows.InvertibleConv1x1(3).double()
    with tg.no_grad():
        for p in layer.parameters():
            p.copy_(5 * tg.randn(p.shape, dtype=tg.float64))
    sign, log = np.linalg.slogdet(layer.matrix().detach().numpy())
    assert abs(sign) == 1
    np.testing.assert_allclose(log, layer.log_s.sum().item(), rtol=1e-9)
    layer(tg.randn(2, 3, dtype=tg.float64))[0].sum().backward()
    assert not np.triu(layer.lower.grad.numpy()).any() and not np.tril(layer.upper.grad.numpy()).any()


def test_it_has_the_default_dtype():
    tg.set_default_dtype(tg.float64)
    layer = flows.InvertibleConv1x1(6)
    w = layer.matrix().detach().numpy()
    assert {t.dtype for t in layer.state_dict().values()} == {np.dtype(np.float64)}
    np.testing.assert_allclose(w.T @ w, np.eye(6), atol=1e-14)


# Squeeze and FactorOut


def test_squeeze_is_the_decks_figure():
    """4×4×1 with the numbers 1 to 16, row by row -> 2×2×4: a channel for each place in the squares of 2×2."""
    x = tg.arange(1, 17).reshape(1, 1, 4, 4).float()
    y, logdet = flows.Squeeze()(x)
    assert y[0].tolist() == [[[1, 3], [9, 11]], [[2, 4], [10, 12]], [[5, 7], [13, 15]], [[6, 8], [14, 16]]]
    assert logdet.tolist() == [0]


def test_squeeze_takes_the_squares_apart():
    """Channel c r² + i r + j at (h, w) is channel c at (h r + i, w r + j)."""
    x = np.random.default_rng(0).normal(size=(2, 3, 6, 9))
    y = flows.Squeeze(3)(tg.tensor(x))[0].numpy()
    for c, i, j, h, w in np.ndindex(3, 3, 3, 2, 3):
        assert (y[:, c * 9 + i * 3 + j, h, w] == x[:, c, 3 * h + i, 3 * w + j]).all()


def test_factor_out_works_on_the_first_half_alone():
    x = data(2, 4, 1, 3)
    double = flows.Composition(flows.Reshape((2, 1, 3), (6,)), flows.Scale(6)).double()
    with tg.no_grad():
        double[1].log_scale.fill_(np.log(2))
    z, logdet = flows.FactorOut((4, 1, 3), double)(x)
    flat = x.numpy().reshape(2, 12)
    np.testing.assert_allclose(z.detach().numpy(), flat * ([2] * 6 + [1] * 6), rtol=1e-14)
    np.testing.assert_allclose(logdet.detach().numpy(), 6 * np.log(2))


# Bounds of s


def test_soft_clamp_is_the_identity_near_zero_and_bounded_far_away():
    clamp, s = flows.SoftClamp(1.5), tg.linspace(-100, 100, 2001, dtype=tg.float64).requires_grad_()
    y = clamp(s)
    assert y.abs().max().item() <= 1.5 and (y[1:] >= y[:-1]).all()
    np.testing.assert_allclose(y.detach().numpy(), 1.5 * np.tanh(s.detach().numpy() / 1.5), rtol=1e-14)
    small = tg.tensor([1e-4, -1e-4], dtype=tg.float64)
    np.testing.assert_allclose(clamp(small).numpy(), small.numpy(), rtol=1e-8)  # tanh x = x − x³/3 + ...


def test_a_clamped_coupling_scales_by_no_more_than_the_limit():
    class Huge(tg.nn.Module):
        def forward(self, x):
            return tg.cat([1e4 * x, x], 1)

    layer = flows.AffineCoupling([1, 0], Huge(), bound=flows.SoftClamp(0.5))
    _, logdet = layer(tg.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    assert logdet.abs().max().item() <= 0.5  # the moving half is driven by what passes, 0 in the other


def test_tanh_scale_starts_as_a_tanh_and_has_a_factor_per_channel():
    scale, s = flows.TanhScale(3), tg.randn(2, 3, 4, 5)
    np.testing.assert_allclose(scale(s).detach().numpy(), np.tanh(s.numpy()), rtol=1e-6)
    with tg.no_grad():
        scale.factor.copy_(tg.tensor([1.0, 0.0, -2.0]))
    found = scale(s).detach().numpy()
    np.testing.assert_allclose(found, np.tanh(s.numpy()) * np.array([1, 0, -2])[:, None, None], rtol=1e-6)
    assert scale(s[:, :, 0, 0]).shape == (2, 3)
