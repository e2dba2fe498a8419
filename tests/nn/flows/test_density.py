"""Densities: the noise, and what a flow makes of it; sampling and density tell the same story."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import tinygen as tg
from tests.nn.flows.stacks import Net, moved
from tinygen.nn import flows
from tinygen.testing import strategies as ts
from tinygen.testing.maps import same_draws

LAWS = {flows.StandardNormal: stats.norm, flows.StandardLogistic: stats.logistic}
BASES = list(LAWS)


@given(base=st.sampled_from(BASES), z=ts.tensors((3, 2, 4), low=-8, high=8))
def test_log_prob_is_scipys(base, z):
    expected = LAWS[base].logpdf(z.numpy()).sum((1, 2))
    np.testing.assert_allclose(base((2, 4)).log_prob(z).numpy(), expected, rtol=1e-13)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_samples_follow_the_law(base, dtype, device):
    """Kolmogorov and Smirnov, over all coordinates: 20000 draws."""
    z = base((4, 5)).sample(1000, dtype=dtype, device=device, generator=tg.Generator(device).manual_seed(1))
    assert z.shape == (1000, 4, 5) and z.dtype == dtype and z.device.type == device
    assert stats.kstest(z.cpu().numpy().ravel(), LAWS[base].cdf).pvalue > 1e-3
    again = base((4, 5)).sample(1000, dtype=dtype, device=device, generator=tg.Generator(device).manual_seed(1))
    assert (z == again).all()


@pytest.mark.parametrize("base", BASES)
def test_coordinates_are_independent(base):
    """No correlation of 6 pairs is beyond 4.5 standard errors: one in 20000 such tests."""
    z = base(4).sample(10000, generator=tg.Generator().manual_seed(0)).numpy()
    c = np.corrcoef(z.T)[np.triu_indices(4, 1)]
    assert np.abs(c).max() < 4.5 / 100


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logistic_draws_are_finite(monkeypatch, dtype):
    """Even for the uniform draws whose logarithms are not."""
    u = [0.0, float(np.nextafter(dtype(1), dtype(0)))]
    monkeypatch.setattr(flows.density, "rand", lambda *shape, **options: tg.tensor(u, dtype=dtype).reshape(shape))
    z = flows.StandardLogistic(1).sample(2).numpy().ravel()
    assert np.isfinite(z).all() and z[0] < -15 and z[1] > 15


@pytest.mark.parametrize("base", BASES)
def test_another_shape_is_refused(base):
    for z in (tg.zeros(5, 3), tg.zeros(2), tg.zeros(()), tg.zeros(5, 2, 1)):
        with pytest.raises(tg.errors.ShapeError, match=rf"{base.__name__}: z of shape \('batch', 2\) is expected, got"):
            base(2).log_prob(z)
    assert base(2).log_prob(tg.zeros(0, 2)).shape == (0,) and repr(base((2, 3))) == f"{base.__name__}(2, 3)"


# Flows in the plane


class Forgetful(flows.Scale):
    """A wrong log-determinant, by 5%."""

    def forward(self, x):
        y, logdet = super().forward(x)
        return y, 0.95 * logdet


def bent(base, seed=0, scale=flows.Scale):
    """(flow, base): couplings, a mixing of coordinates, scales; in float64, with parameters that bend the density a lot."""
    with same_draws(seed):
        couplings = [flows.AffineCoupling([i % 2, 1 - i % 2], Net((2,)), Net((2,))) for i in range(4)]
        flow = moved(
            flows.Composition(*couplings[:2], flows.InvertibleConv1x1(2), scale(2), flows.ActNorm(2), *couplings[2:])
        )
    with tg.no_grad():
        flow[3].log_scale.copy_(tg.tensor([0.5, 0.7]))
    return flow.double(), base(2)


def density(flow, base):
    def p(points):
        with tg.no_grad():
            z, logdet = flow(tg.tensor(points))
            return np.exp((base.log_prob(z) + logdet).numpy())

    return p


def mass(p, low, high, n):
    """∫ p over a square, by the middles of n × n cells; for all subsquares of n / 8 × n / 8 cells too."""
    middles = low + (np.arange(n) + 0.5) * (high - low) / n
    x, y = np.meshgrid(middles, middles, indexing="ij")
    values = p(np.stack([x.ravel(), y.ravel()], 1)).reshape(n, n) * ((high - low) / n) ** 2
    return values.sum(), values.reshape(8, n // 8, 8, n // 8).sum((1, 3))


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("seed", range(3))
def test_a_density_integrates_to_one(base, seed):
    """Outside of the square is less than 1e-6, and the middles of cells of 1/6 integrate what is smooth on a scale of 1 exactly."""
    total, _ = mass(density(*bent(base, seed)), -40, 40, 480)
    assert abs(total - 1) < 1e-5


@pytest.mark.parametrize("base", BASES)
def test_a_base_integrates_to_one(base):
    total, _ = mass(density(flows.Composition(), base(2)), -20, 20, 400)
    assert abs(total - 1) < 1e-7  # outside: 4 e⁻²⁰ of the logistic


def goodness(flow, base, n=20000, seed=0):
    """The p-value of a chi-square test of samples against the density: 8 × 8 cells of a square, and what is outside."""
    with tg.no_grad():
        z = base.sample(n, dtype=tg.float64, generator=tg.Generator().manual_seed(seed))
        x = flow.inverse(z)[0].numpy()
    low, high = np.quantile(x, [0.02, 0.98])
    _, cells = mass(density(flow, base), low, high, 240)
    counts, _, _ = np.histogram2d(*x.T, bins=8, range=[(low, high)] * 2)
    expected, found = n * cells.ravel(), counts.ravel()
    large = expected >= 5  # a cell for all smaller ones, and the outside
    expected = np.append(expected[large], n - expected[large].sum())
    found = np.append(found[large], n - found[large].sum())
    return stats.chisquare(found, expected).pvalue, len(found)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("seed", range(3))
def test_samples_follow_the_density(base, seed):
    p, cells = goodness(*bent(base, seed))
    assert cells > 20 and p > 1e-3


@pytest.mark.parametrize("base", BASES)
def test_these_tests_notice_a_wrong_log_determinant(base):
    wrong = bent(base, 0, Forgetful)
    assert abs(mass(density(*wrong), -40, 40, 480)[0] - 1) > 0.01
    assert goodness(*wrong)[0] < 1e-6
