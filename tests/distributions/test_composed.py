"""Vectors, events of several numbers, mixtures, transforms and divergences."""

from __future__ import annotations

import math
from itertools import pairwise, product

import numpy as np
import pytest
from scipy import integrate, stats

import tinygen as tg
from tests.distributions.families import CONTINUOUS, made
from tinygen import distributions as D
from tinygen.backend import to_numpy
from tinygen.testing import gradcheck

RNG = np.random.default_rng(0)
TRIL = np.array([[[0.7, 0, 0], [0.3, 1.2, 0], [-0.5, 0.4, 0.9]], [[2.0, 0, 0], [0.1, 0.5, 0], [1.0, -1.0, 1.5]]])
MEAN = np.array([[0.5, -1.0, 2.0], [0.0, 0.3, 0.1]])
COVARIANCE = TRIL @ TRIL.swapaxes(1, 2)
MATRICES = {"scale_tril": TRIL, "covariance_matrix": COVARIANCE, "precision_matrix": np.linalg.inv(COVARIANCE)}


def gaussian(kind, device="cpu", dtype=np.float64):
    return D.MultivariateNormal(
        tg.tensor(MEAN, device=device, dtype=dtype), **{kind: tg.tensor(MATRICES[kind], device=device, dtype=dtype)}
    )


@pytest.mark.parametrize("kind", MATRICES)
def test_vectors_with_a_covariance(kind):
    p = gaussian(kind)
    x = RNG.standard_normal((5, 2, 3))
    logs = p.log_prob(tg.tensor(x)).numpy()
    for i in range(2):
        other = stats.multivariate_normal(MEAN[i], COVARIANCE[i])
        np.testing.assert_allclose(logs[:, i], other.logpdf(x[:, i]), rtol=1e-10)
        assert p.entropy()[i].item() == pytest.approx(float(other.entropy()), rel=1e-10)
    for name, matrix in MATRICES.items():
        np.testing.assert_allclose(getattr(p, name).numpy(), matrix, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(p.variance.numpy(), np.diagonal(COVARIANCE, 0, 1, 2), rtol=1e-10)
    np.testing.assert_array_equal(p.mean.numpy(), MEAN)
    wide = p.expand((4, 2))
    assert wide.sample((7,)).shape == (7, 4, 2, 3) and wide.log_prob(tg.tensor(x[:, None])).shape == (5, 4, 2)


def test_a_diagonal_covariance_is_that_of_independent_numbers():
    s = np.exp(RNG.standard_normal((2, 3)))
    p = D.MultivariateNormal(tg.tensor(MEAN), scale_tril=tg.tensor(np.stack([np.diag(v) for v in s])))
    q = D.Independent(D.Normal(tg.tensor(MEAN), tg.tensor(s)), 1)
    x = tg.tensor(RNG.standard_normal((5, 2, 3)))
    assert p.batch_shape == q.batch_shape == (2,) and p.event_shape == q.event_shape == (3,)
    np.testing.assert_allclose(p.log_prob(x).numpy(), q.log_prob(x).numpy(), rtol=1e-12)
    np.testing.assert_allclose(p.entropy().numpy(), q.entropy().numpy(), rtol=1e-12)


@pytest.mark.parametrize("kind", MATRICES)
def test_samples_of_vectors(kind, device):
    """Whitened by L⁻¹ they are standard normal: means off by at most √(2 log(1/α)/n), covariances about as much."""
    n = 4000
    p = gaussian(kind, device)
    x = to_numpy(p.sample((n,), generator=tg.Generator(device).manual_seed(1)).array)
    for i in range(2):
        z = np.linalg.solve(TRIL[i], (x[:, i] - MEAN[i]).T)
        assert np.abs(z.mean(1)).max() < math.sqrt(2 * math.log(1e9) / n)
        # a mean of products of variance at most 2, whose tails are those of χ²: Laurent and Massart's bound
        assert np.abs(z @ z.T / n - np.eye(3)).max() < 2 * math.sqrt(math.log(1e9) / n) + 2 * math.log(1e9) / n


@pytest.mark.parametrize("kind", MATRICES)
def test_vectors_can_be_differentiated_twice(kind):
    """Through a triangular factor, so that every matrix nearby is a covariance."""
    mean, x = tg.tensor(MEAN[0]), tg.tensor(RNG.standard_normal((2, 3)))

    def distribution(mean, raw):
        tril = raw.tril(-1) + tg.diag(tg.diag(raw).exp())
        matrix = {"scale_tril": lambda: tril, "covariance_matrix": lambda: tril @ tril.mT}.get(
            kind, lambda: tg.inverse(tril @ tril.mT)
        )()
        return D.MultivariateNormal(mean, **{kind: matrix}, validate_args=False)

    raw = tg.tensor(TRIL[0])
    for function in (
        lambda m, r, x: distribution(m, r).log_prob(x),
        lambda m, r, x: distribution(m, r).entropy() + x.sum(),
        lambda m, r, x: distribution(m, r).rsample((2,)) + x,
    ):
        report = gradcheck(function, mean, raw, x)
        assert report, report


def test_mistakes_with_vectors():
    m = tg.zeros(3)
    for make, error, words in [
        (lambda: D.MultivariateNormal(m, tg.eye(2)), tg.ShapeError, r"got \(2, 2\) and \(3,\)"),
        (
            lambda: D.MultivariateNormal(m),
            ValueError,
            "pass exactly one of covariance_matrix, precision_matrix, scale_tril",
        ),
        (
            lambda: D.MultivariateNormal(m, -tg.eye(3)),
            ValueError,
            "covariance_matrix must be a symmetric positive definite",
        ),
        (
            lambda: D.MultivariateNormal(m, scale_tril=tg.ones(3, 3)),
            ValueError,
            "scale_tril must be a lower triangular",
        ),
        (
            lambda: D.MultivariateNormal(m, scale_tril=tg.eye(3)).log_prob(tg.zeros(2)),
            ValueError,
            r"event_shape \(3,\)",
        ),
    ]:
        with pytest.raises(error, match=words):
            make()


# Events and mixtures


@pytest.mark.parametrize("dims", [0, 1, 2])
def test_independent_adds_up(dims):
    loc, scale = tg.tensor(RNG.standard_normal((4, 3))), tg.tensor(np.exp(RNG.standard_normal((4, 3))))
    base = D.Normal(loc, scale)
    p = D.Independent(base, dims)
    assert p.batch_shape == (4, 3)[: 2 - dims] and p.event_shape == (4, 3)[2 - dims :]
    x = p.sample((5,))
    axes = tuple(range(-dims, 0))
    np.testing.assert_allclose(
        p.log_prob(x).numpy(), base.log_prob(x).numpy().sum(axes) if dims else base.log_prob(x).numpy()
    )
    np.testing.assert_allclose(
        p.entropy().numpy(), base.entropy().numpy().sum(axes) if dims else base.entropy().numpy()
    )
    assert p.has_rsample and p.mean is loc and not D.Independent(D.Bernoulli(loc.sigmoid()), 1).has_rsample
    assert p.expand((2, *p.batch_shape)).rsample((6,)).shape == (6, 2, 4, 3)
    with pytest.raises(ValueError, match="must be from 0 to the 2 dimensions of batch_shape"):
        D.Independent(base, 3)
    with pytest.raises(ValueError, match=r"Independent\.log_prob|Normal\.log_prob"):
        p.log_prob(tg.full((4, 3), math.nan))


def test_a_mixture_of_one_is_the_component_and_twice_the_same_too():
    x = tg.tensor(RNG.standard_normal(6))
    single = D.Normal(0.3, 1.5)
    for weights in ([1.0], [0.3, 0.7]):
        n = len(weights)
        p = D.MixtureSameFamily(D.Categorical(tg.tensor(weights)), D.Normal(tg.full((n,), 0.3), tg.full((n,), 1.5)))
        np.testing.assert_allclose(p.log_prob(x).numpy(), single.log_prob(x).numpy(), rtol=1e-5)


def test_a_mixture_of_vectors():
    parts = D.Independent(D.Normal(tg.tensor(RNG.standard_normal((4, 3, 2))), tg.ones(4, 3, 2, dtype=np.float64)), 1)
    p = D.MixtureSameFamily(D.Categorical(logits=tg.tensor(RNG.standard_normal((4, 3)))), parts)
    assert p.batch_shape == (4,) and p.event_shape == (2,)
    x = p.sample((5000,), generator=tg.Generator().manual_seed(0))
    assert x.shape == (5000, 4, 2) and p.log_prob(x).shape == (5000, 4)
    weights = p.mixture_distribution.probs.numpy()
    by_hand = np.einsum("bk,nbk->nb", weights, np.exp(parts.log_prob(x.unsqueeze(-2)).numpy()))
    np.testing.assert_allclose(p.log_prob(x).exp().numpy(), by_hand, rtol=1e-10)
    np.testing.assert_allclose(p.mean.numpy(), np.einsum("bk,bkd->bd", weights, parts.mean.numpy()), rtol=1e-10)
    # 6 standard errors
    spread = np.sqrt(p.variance.numpy())
    np.testing.assert_array_less(np.abs(x.numpy().mean(0) - p.mean.numpy()), 6 * spread / math.sqrt(5000))
    np.testing.assert_allclose(x.numpy().std(0), spread, rtol=0.1)
    assert p.expand((7, 4)).sample((2,)).shape == (2, 7, 4, 2)
    with pytest.raises(tg.ShapeError, match="a mixture of 3 components"):
        D.MixtureSameFamily(D.Categorical(tg.ones(3)), D.Normal(tg.zeros(2), 1.0))
    with pytest.raises(TypeError, match="the mixture must be a Categorical, got Bernoulli"):
        D.MixtureSameFamily(D.Bernoulli(0.5), D.Normal(tg.zeros(2), 1.0))


def test_one_hot_is_categorical():
    logits = tg.tensor(RNG.standard_normal((2, 3)))
    p, q = D.OneHotCategorical(logits=logits), D.Categorical(logits=logits)
    assert p.event_shape == (3,) and p.batch_shape == (2,)
    np.testing.assert_allclose(p.log_prob(p.enumerate_support()).numpy(), q.log_prob(q.enumerate_support()).numpy())
    np.testing.assert_allclose(p.entropy().numpy(), q.entropy().numpy())
    x = p.sample((100,))
    assert x.shape == (100, 2, 3) and (x.sum(-1) == 1).all()
    np.testing.assert_array_equal(p.mode.numpy().argmax(-1), q.mode.numpy())
    np.testing.assert_allclose(p.mean.numpy(), q.probs.numpy())
    for bad in ([0.5, 0.5, 0.0], [1.0, 1.0, 0.0]):
        with pytest.raises(ValueError, match="one 1 and otherwise 0"):
            p.log_prob(tg.tensor(bad))
    # a class that cannot come
    sure = D.Categorical(logits=tg.tensor([0.0, -math.inf]))
    assert sure.entropy().item() == 0 and sure.log_prob(1).item() == -math.inf
    assert (D.Categorical(tg.tensor([0.0, 1.0, 0.0])).sample((1000,)) == 1).all()


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_a_relaxed_die(temperature):
    """Its density integrates to 1 over the simplex, and its largest element is where the die would fall."""
    probs = np.array([0.2, 0.5, 0.3])
    p = D.RelaxedOneHotCategorical(temperature, probs=tg.tensor(probs))

    # x = (a, (1-a) b, (1-a) (1-b)) with sigmoids a and b of two numbers, so that the peaks at the corners are smooth; the
    # trapezoidal rule converges exponentially for a smooth function that falls off at both ends
    grid = np.arange(-30, 30.1, 0.75) * (1 if temperature < 1 else 0.5)
    a, b = np.meshgrid(1 / (1 + np.exp(-grid)), 1 / (1 + np.exp(-grid)))
    x = np.stack([a, (1 - a) * b, (1 - a) * (1 - b)], -1)
    mass = p.log_prob(tg.tensor(x / x.sum(-1, keepdims=True))).exp().numpy() * a * (1 - a) ** 2 * b * (1 - b)
    assert mass.sum() * (grid[1] - grid[0]) ** 2 == pytest.approx(1, abs=1e-3)
    n = 3000
    x = p.rsample((n,), generator=tg.Generator().manual_seed(2)).numpy()
    frequencies = np.bincount(x.argmax(-1), minlength=3) / n
    assert (np.abs(frequencies - probs) < math.sqrt(math.log(2e9) / (2 * n))).all()  # Hoeffding
    logits = tg.tensor(RNG.standard_normal((2, 3)))
    report = gradcheck(lambda r: D.RelaxedOneHotCategorical(temperature, logits=r).rsample((2,)), logits)
    assert report, report
    value = tg.tensor(np.array([0.2, 0.3, 0.5]))
    report = gradcheck(
        lambda r, x: D.RelaxedOneHotCategorical(temperature, logits=r).log_prob(x.softmax(-1)), logits, value
    )
    assert report, report


# Transforms

TRANSFORMS = {
    "affine": D.AffineTransform(0.3, -2.0),
    "affine of tensors": D.AffineTransform(
        tg.tensor([0.3, 1.0], dtype=np.float64), tg.tensor([2.0, -0.5], dtype=np.float64)
    ),
    "exp": D.ExpTransform(),
    "sigmoid": D.SigmoidTransform(),
    "tanh": D.TanhTransform(),
    "softplus": D.SoftplusTransform(),
    "composed": D.ComposeTransform([D.AffineTransform(0.1, 0.5), D.TanhTransform(), D.AffineTransform(2.0, -3.0)]),
    "inverse": D.ExpTransform().inv,
    "nothing": D.ComposeTransform([]),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_its_inverse_and_its_derivative(name):
    f = TRANSFORMS[name]
    x = tg.tensor(np.array([[0.2, 0.9], [1.7, 2.3]]), requires_grad=True)
    y = f(x)
    np.testing.assert_allclose(f.inv(y).detach().numpy(), x.detach().numpy(), rtol=1e-9)
    np.testing.assert_array_equal(f.inv.inv(x).detach().numpy(), y.detach().numpy())
    (slope,) = tg.grad(y.sum(), x)
    logs = f.log_abs_det_jacobian(x, y)
    np.testing.assert_allclose(logs.detach().numpy(), np.log(np.abs(slope.detach().numpy())), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(f.inv.log_abs_det_jacobian(y, x).detach().numpy(), -logs.detach().numpy())
    sign = f.sign.numpy() if isinstance(f.sign, tg.Tensor) else f.sign
    np.testing.assert_array_equal(np.sign(slope.detach().numpy()), np.broadcast_to(sign, (2, 2)))
    assert type(f).__name__.strip("_") in repr(f) or name == "inverse"


def test_transforms_of_large_numbers_stay_finite():
    x = tg.tensor([-200.0, 200.0], requires_grad=True)
    for f in (D.SigmoidTransform(), D.TanhTransform(), D.SoftplusTransform()):
        logs = f.log_abs_det_jacobian(x, f(x))
        (g,) = tg.grad(logs.sum(), x)
        assert np.isfinite(logs.detach().numpy()).all() and np.isfinite(g.numpy()).all()
    for f, ends in ((D.SigmoidTransform(), [0.0, 1.0]), (D.TanhTransform(), [-1.0, 1.0])):
        assert np.isfinite(f.inv(tg.tensor(ends)).numpy()).all()


def test_a_value_that_the_transforms_cannot_have_is_refused():
    base = D.Normal(tg.zeros(2), 1.0)
    for transforms, bad, words in [
        (D.ExpTransform(), -1.0, "positive"),
        (D.SigmoidTransform(), 2.0, "from 0 to 1"),
        (D.TanhTransform(), -1.5, "from -1 to 1"),
        ([D.SigmoidTransform(), D.AffineTransform(0.0, 2.0)], 2.5, "what the transforms make"),
    ]:
        for p in (
            D.TransformedDistribution(base, transforms),
            D.TransformedDistribution(D.Independent(base, 1), transforms),
        ):
            x = p.sample((3,))
            assert p.support.check(x).all() and p.log_prob(x).isfinite().all()
            with pytest.raises(ValueError, match=f"TransformedDistribution.log_prob: a value must be {words}"):
                p.log_prob(tg.tensor([0.5, bad]))


def test_a_transform_of_events():
    base = D.Normal(tg.zeros(4, 3), 1.0)
    p = D.TransformedDistribution(base, [D.AffineTransform(0.0, tg.tensor([1.0, 2.0, 3.0]), event_dim=1)])
    q = D.Independent(D.Normal(0.0, tg.tensor([1.0, 2.0, 3.0])), 1)
    assert p.batch_shape == (4,) and p.event_shape == (3,)
    x = p.sample((5,))
    assert x.shape == (5, 4, 3) and p.expand((2, 4)).sample().shape == (2, 4, 3)
    np.testing.assert_allclose(p.log_prob(x).numpy(), q.log_prob(x).numpy(), rtol=1e-5)
    r = D.TransformedDistribution(D.Independent(base, 1), D.ExpTransform())
    assert r.event_shape == (3,) and r.log_prob(r.sample()).shape == (4,)
    with pytest.raises(TypeError, match="transforms must be Transforms, got function"):
        D.TransformedDistribution(base, [lambda x: x])


# Divergences


def normal(i):
    return D.Normal(*(tg.tensor(a[i], dtype=np.float64) for a in ((-0.3, 1.2), (0.5, 2.0))))


def laplace(i):
    return D.Laplace(*(tg.tensor(a[i], dtype=np.float64) for a in ((-0.4, 1.1), (0.6, 1.5))))


PAIRS = {
    "Normal": (normal(0), normal(1)),
    "Normal back": (normal(1), normal(0)),
    "Laplace": (laplace(0), laplace(1)),
    "Normal, Laplace": (normal(0), laplace(1)),
    "Normal, Laplace back": (normal(1), laplace(0)),
    "Laplace, Normal": (laplace(0), normal(1)),
    "Uniform": (D.Uniform(0.0, 1.0), D.Uniform(-1.0, 2.0)),
    "Uniform, Normal": (D.Uniform(-0.5, 1.0), normal(1)),
    "Exponential": (D.Exponential(0.7), D.Exponential(2.0)),
    "Gumbel": (D.Gumbel(0.3, 0.8), D.Gumbel(-0.2, 1.7)),
    "LogNormal": (D.LogNormal(0.2, 0.5), D.LogNormal(-0.3, 0.8)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_kl_is_the_integral(name):
    p, q = (x.expand(()) for x in PAIRS[name])
    p._validate_args = q._validate_args = False

    def f(x):
        x = tg.tensor(x, dtype=np.float64)
        a, b = p.log_prob(x).item(), q.log_prob(x).item()
        return math.exp(a) * (a - b) if a > -700 else 0.0

    low = {"Uniform": 0.0, "Uniform, Normal": -0.5, "Exponential": 0.0, "LogNormal": 1e-9}.get(name, -40.0)
    high = {"Uniform": 1.0, "Uniform, Normal": 1.0}.get(name, 60.0)
    edges = sorted({low, high, *(x for x in (-3.0, -0.4, -0.3, 0.0, 0.3, 1.1, 1.2, 5.0) if low < x < high)})
    total = sum(integrate.quad(f, a, b, limit=200)[0] for a, b in pairwise(edges))
    kl = D.kl_divergence(p, q).item()
    assert kl == pytest.approx(total, rel=2e-5)  # parameters of float32 are known to 6e-8, tails to about e^-20
    assert kl > 0 and D.kl_divergence(p, p).item() == pytest.approx(0, abs=1e-6)


def test_kl_of_what_can_be_counted():
    a, b = np.array([0.2, 0.5, 0.3]), np.array([0.6, 0.1, 0.3])
    expected = (a * np.log(a / b)).sum()
    for kind in (D.Categorical, D.OneHotCategorical):
        assert D.kl_divergence(kind(tg.tensor(a)), kind(tg.tensor(b))).item() == pytest.approx(expected, rel=1e-12)
    p, q = D.Bernoulli(tg.tensor(0.3, dtype=np.float64)), D.Bernoulli(tg.tensor(0.6, dtype=np.float64))
    assert D.kl_divergence(p, q).item() == pytest.approx(0.3 * math.log(0.5) + 0.7 * math.log(0.7 / 0.4), rel=1e-12)
    k = np.arange(80.0)
    r, s = (D.Poisson(tg.tensor(x, dtype=np.float64)) for x in (3.0, 5.0))
    probs = np.exp(r.log_prob(tg.tensor(k)).numpy())
    summed = (probs * (r.log_prob(tg.tensor(k)) - s.log_prob(tg.tensor(k))).numpy()).sum()
    assert D.kl_divergence(r, s).item() == pytest.approx(summed, rel=1e-10)
    assert D.kl_divergence(D.Uniform(0.0, 2.0), D.Uniform(0.0, 1.0)).item() == math.inf


def test_kl_of_vectors():
    """Against the formula with determinants; of independent parts it is the sum."""
    p, q = gaussian("scale_tril"), gaussian("scale_tril").expand((2,))
    q.loc, q._tril = q.loc.flip(0), q._tril.flip(0)
    for i, j in ((0, 1), (1, 0)):
        inverse = np.linalg.inv(COVARIANCE[j])
        d = MEAN[j] - MEAN[i]
        expected = np.trace(inverse @ COVARIANCE[i]) + d @ inverse @ d - 3
        expected = (expected + np.linalg.slogdet(COVARIANCE[j])[1] - np.linalg.slogdet(COVARIANCE[i])[1]) / 2
        assert D.kl_divergence(p, q)[i].item() == pytest.approx(expected, rel=1e-10)
    a = D.Normal(tg.tensor(MEAN), tg.tensor(np.exp(MEAN)))
    b = D.Normal(tg.zeros(2, 3, dtype=np.float64), 1.0)
    kl = D.kl_divergence(D.Independent(a, 1), D.Independent(b, 1))
    np.testing.assert_allclose(kl.numpy(), D.kl_divergence(a, b).numpy().sum(-1))
    with pytest.raises(ValueError, match="cannot be compared"):
        D.kl_divergence(D.Independent(a, 1), D.Independent(b, 2))


def test_kl_can_be_differentiated_twice():
    m, s = tg.tensor([0.3, -1.0]), tg.tensor([0.5, 2.0])
    for kind in (D.Normal, D.Laplace, D.Gumbel):
        report = gradcheck(
            lambda *x, kind=kind: D.kl_divergence(kind(x[0], x[1]), kind(x[2], x[3])), m, s, m + 1, s + 1
        )
        assert report, report


def test_pairs_without_a_formula_and_pairs_of_ones_own():
    with pytest.raises(NotImplementedError, match="no closed form for Normal and Gumbel; estimate it by samples"):
        D.kl_divergence(normal(0), D.Gumbel(0.0, 1.0))
    with pytest.raises(TypeError, match="two classes of distributions"):
        D.register_kl(int, D.Normal)

    class Mine(D.Normal):
        pass

    mine = Mine(0.0, 1.0)
    assert D.kl_divergence(mine, D.Normal(1.0, 1.0)).item() == pytest.approx(0.5)  # what holds for the base

    @D.register_kl(Mine, D.Normal)
    def _(p, q):
        return tg.tensor(42.0)

    assert (
        D.kl_divergence(mine, D.Normal(1.0, 1.0)).item() == 42 and D.kl_divergence(D.Normal(0.0, 1.0), mine).item() == 0
    )


def test_a_vae_learns_through_rsample():
    """The gradient of a Monte-Carlo ELBO is on average that of the closed form: E log N(x; z, 1) - KL(q ‖ p)."""
    m, s = tg.tensor(0.7, dtype=np.float64, requires_grad=True), tg.tensor(0.4, dtype=np.float64, requires_grad=True)
    n = 20000
    q, prior = D.Normal(m, s), D.Normal(tg.tensor(0.0, dtype=np.float64), 1.0)
    z = q.rsample((n,), generator=tg.Generator().manual_seed(0))
    estimate = D.Normal(z, 1.0).log_prob(2.0).mean() - D.kl_divergence(q, prior)
    gm, gs = (g.item() for g in tg.grad(estimate, [m, s]))
    # E -(2-z)²/2 = -((2-m)² + s²)/2, so dm: (2-m) - m, ds: -s - (s - 1/s); the noise is about 1/√n, 6 of them
    assert gm == pytest.approx(2 - 2 * 0.7, abs=6 / math.sqrt(n))
    assert gs == pytest.approx(-0.4 - 0.4 + 1 / 0.4, abs=12 / math.sqrt(n))


@pytest.mark.parametrize(
    "name", ["MultivariateNormal", "mixture", "Independent", "RelaxedOneHotCategorical", "OneHotCategorical"]
)
def test_agrees_with_pytorch(name):
    torch = pytest.importorskip("torch")
    T = torch.distributions
    w, m, s = RNG.standard_normal((2, 3)), RNG.standard_normal((2, 3)), np.exp(RNG.standard_normal((2, 3)))

    def build(d, t):
        return {
            "MultivariateNormal": lambda: d.MultivariateNormal(t(MEAN), covariance_matrix=t(COVARIANCE)),
            "mixture": lambda: d.MixtureSameFamily(d.Categorical(logits=t(w)), d.Normal(t(m), t(s))),
            "Independent": lambda: d.Independent(d.Laplace(t(m), t(s)), 1),
            "RelaxedOneHotCategorical": lambda: d.RelaxedOneHotCategorical(t(np.array(0.7)), logits=t(w)),
            "OneHotCategorical": lambda: d.OneHotCategorical(logits=t(w)),
        }[name]()

    p, q = build(D, tg.tensor), build(T, torch.tensor)
    x = p.sample((4,))
    np.testing.assert_allclose(p.log_prob(x).numpy(), q.log_prob(torch.tensor(x.numpy())).numpy(), rtol=1e-8)
    assert p.batch_shape == tuple(q.batch_shape) and p.event_shape == tuple(q.event_shape)
    if name != "RelaxedOneHotCategorical":
        np.testing.assert_allclose(p.mean.numpy(), q.mean.numpy(), rtol=1e-10)
        np.testing.assert_allclose(p.variance.numpy(), q.variance.numpy(), rtol=1e-10)
    if name not in ("RelaxedOneHotCategorical", "mixture"):
        np.testing.assert_allclose(p.entropy().numpy(), q.entropy().numpy(), rtol=1e-10)


def test_the_pairs_and_families_are_all_there():
    assert set(CONTINUOUS) >= {"Normal", "Laplace", "Logistic", "Gumbel", "Uniform", "Exponential"}
    for name, i in product(CONTINUOUS, (0, 1)):
        assert made(name)[0].log_prob(tg.tensor(CONTINUOUS[name].points[0], dtype=np.float64))[i].item() > -math.inf
