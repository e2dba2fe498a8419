"""Flows: gradients, invertibility both ways, the log-determinant against the autograd Jacobian, a density of mass 1."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import tinygen as tg
from tinygen import data, nn, optim
from tinygen.models import NICE, RealNVP
from tinygen.models.realnvp import alternating_masks
from tinygen.testing import assert_gradients


class Loss(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model.loss(x)


def make(kind, dim=3, hidden=4, depth=4, seed=0):
    """A flow in float64 that is far from the identity."""
    tg.manual_seed(seed)
    model = kind(dim, hidden, depth).double()
    with tg.no_grad():
        for p in model.parameters():
            p.add_(0.5 * tg.randn_like(p))
    return model


def points(n, dim, seed=0):
    return tg.tensor(np.random.default_rng(seed).standard_normal((n, dim)))


KINDS = pytest.mark.parametrize("kind", [RealNVP, NICE])


@KINDS
def test_gradients_of_the_loss(kind):
    assert_gradients(Loss(make(kind)), points(3, 3))


@KINDS
@given(dim=st.integers(2, 6), depth=st.integers(2, 6), seed=st.integers(0, 99))
def test_inverse_undoes_forward_and_forward_undoes_inverse(kind, dim, depth, seed):
    model, x = make(kind, dim, 4, depth, seed), points(5, dim, seed)
    with tg.no_grad():
        z, there = model(x)
        back, here = model.inverse(z)
        np.testing.assert_allclose(back.numpy(), x.numpy(), atol=1e-8)
        np.testing.assert_allclose(there.numpy(), -here.numpy(), atol=1e-8)
        back, here = model.inverse(x)
        z, there = model(back)
    np.testing.assert_allclose(z.numpy(), x.numpy(), atol=1e-6 * max(1, back.abs().max().item()))
    np.testing.assert_allclose(there.numpy(), -here.numpy(), atol=1e-6)


@KINDS
@given(dim=st.integers(2, 5), depth=st.integers(2, 5), seed=st.integers(0, 99))
def test_logdet_is_that_of_the_autograd_jacobian(kind, dim, depth, seed):
    model, x = make(kind, dim, 4, depth, seed), points(2, dim, seed)
    for direction in (model.forward, model.inverse):
        logdet = direction(x)[1].detach().numpy()
        for i in range(len(x)):
            jacobian = tg.autograd.jacobian(lambda p, d=direction: d(p.unsqueeze(0))[0].squeeze(0), x[i])
            np.testing.assert_allclose(logdet[i], np.linalg.slogdet(jacobian.numpy())[1], atol=1e-8)


def mass(model, half, n=801):
    """∫ p over the square [-half, half]², by sums: p is smooth, so the error is that of the cut-off."""
    axis = np.linspace(-half, half, n)
    grid = tg.tensor(np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2))
    with tg.no_grad():
        return model.log_prob(grid).exp().sum().item() * (axis[1] - axis[0]) ** 2


@pytest.mark.parametrize(("kind", "half"), [(RealNVP, 12), (NICE, 40)])
def test_the_density_integrates_to_one_untrained(kind, half):
    tg.manual_seed(0)
    assert abs(mass(kind(2, 8, 4).double(), half) - 1) < 2e-3


def test_the_density_integrates_to_one_trained():
    tg.manual_seed(0)
    model = RealNVP(2, 16, 4)
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    x = tg.tensor(data.two_moons(500, generator=0))
    before = model.loss(x).item()
    for _ in range(150):
        optimizer.zero_grad()
        loss = model.loss(x)
        loss.backward()
        optimizer.step()
    assert loss.item() < before - 0.3
    assert abs(mass(model.double(), 8, 1601) - 1) < 1e-2


def test_log_prob_of_the_identity_is_the_prior():
    normal, logistic = RealNVP(3, 4, 2).double(), NICE(3, 4, 2).double()
    with tg.no_grad():
        for p in [*normal.parameters(), *logistic.parameters()]:
            p.zero_()
    x = points(5, 3)
    np.testing.assert_allclose(normal.log_prob(x).detach().numpy(), stats.norm.logpdf(x.numpy()).sum(1))
    np.testing.assert_allclose(logistic.log_prob(x).detach().numpy(), stats.logistic.logpdf(x.numpy()).sum(1))


@pytest.mark.parametrize(("kind", "law"), [(RealNVP, stats.norm), (NICE, stats.logistic)])
def test_samples_come_from_the_density(kind, law):
    """Pushed back through the flow, samples of the model are draws of the prior (Kolmogorov-Smirnov, at 1 in 1000)."""
    model = make(kind, dim=2)
    tg.manual_seed(0)
    z = model.encode(model.sample(4000)).detach().numpy()
    for j in range(2):
        assert stats.kstest(z[:, j], law.cdf).pvalue > 1e-3


def test_nothing_is_lost_in_the_code():
    model, x = make(RealNVP), points(4, 3)
    np.testing.assert_allclose(model.reconstruct(x).numpy(), x.numpy(), atol=1e-9)


@given(dim=st.integers(2, 9), depth=st.integers(2, 8), seed=st.integers(0, 99))
def test_every_coordinate_is_changed_and_passes_through(dim, depth, seed):
    tg.manual_seed(seed)
    masks = alternating_masks(dim, depth)
    assert len(masks) == depth and all(set(m.tolist()) == {0, 1} for m in masks)
    for even, odd in zip(masks[::2], masks[1::2]):
        np.testing.assert_array_equal(even + odd, 1)


@KINDS
def test_one_coordinate_cannot_be_coupled(kind):
    with pytest.raises(ValueError, match=rf"{kind.__name__}: dim >= 2 .*dim=1"):
        kind(1)
    with pytest.raises(ValueError, match="depth=1"):
        kind(2, 8, 1)


def test_log_prob_is_per_point_and_loss_its_mean():
    model, x = make(RealNVP), points(4, 3)
    assert model.log_prob(x).shape == (4,)
    assert math.isclose(model.loss(x).item(), -model.log_prob(x).mean().item())
