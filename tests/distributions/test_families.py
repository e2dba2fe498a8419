"""Every family against the definitions: integrals, sums, derivatives, samples; and against SciPy and PyTorch."""

from __future__ import annotations

import copy
import math
import pickle
from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate

import tinygen as tg
from tests.distributions.families import CONTINUOUS, DISCRETE, element, made
from tinygen import distributions as D
from tinygen.backend import to_numpy
from tinygen.testing import gradcheck

ALL = CONTINUOUS | DISCRETE
WITH_CDF = [name for name in CONTINUOUS]
WITH_ICDF = [name for name in CONTINUOUS if name not in ("StudentT", "mixture")]
WITH_ENTROPY = [n for n in ALL if n not in ("RelaxedBernoulli", "tanh of Normal", "mixture", "Poisson")]


def density(p, i):
    """p(x) of element i of the batch, of numbers."""

    def f(x):
        x = np.asarray(x, dtype=np.float64)
        return np.exp(p.log_prob(tg.tensor(x[..., None])).detach().numpy()[..., i])

    return f


def pieces(name):
    """The interval in parts, with breaks where densities bend."""
    low, high = CONTINUOUS[name].interval
    inner = [x for x in (-20.0, -2.0, -1.0, -0.3, 0.0, 0.5, 1.2, 2.0, 3.0, 20.0) if low < x < high]
    return [low, *inner, high]


def integral(f, name):
    edges = pieces(name)
    return sum(integrate.quad(f, a, b, epsabs=1e-11, epsrel=1e-10, limit=200)[0] for a, b in pairwise(edges))


@pytest.mark.parametrize("i", [0, 1])
@pytest.mark.parametrize("name", CONTINUOUS)
def test_the_density_integrates_to_one_and_gives_the_moments(name, i):
    p, _ = made(name)
    p._validate_args = False
    f = density(p, i)
    assert integral(f, name) == pytest.approx(1, abs=1e-8)  # quad's own estimate of its error is below 1e-9 per part
    if name in ("RelaxedBernoulli", "tanh of Normal"):
        return
    mean = integral(lambda x: x * f(x), name)
    assert p.mean[i].item() == pytest.approx(mean, abs=1e-6)
    variance = integral(lambda x: (x - mean) ** 2 * f(x), name)
    # StudentT with 2.5 degrees of freedom: x² p(x) falls like x^-1.5, and quad sees the tail to about 1e-4 only
    assert p.variance[i].item() == pytest.approx(variance, rel=1e-3 if name == "StudentT" else 1e-6)
    assert p.stddev[i].item() == pytest.approx(math.sqrt(p.variance[i].item()))


@pytest.mark.parametrize("i", [0, 1])
@pytest.mark.parametrize("name", [n for n in CONTINUOUS if n in WITH_ENTROPY])
def test_the_entropy_is_the_integral(name, i):
    p, _ = made(name)
    p._validate_args = False
    f = density(p, i)

    def surprise(x):
        y = float(f(x))
        return -y * math.log(y) if y > 0 else 0.0

    assert p.entropy()[i].item() == pytest.approx(integral(surprise, name), abs=1e-6)
    assert p.perplexity()[i].item() == pytest.approx(math.exp(p.entropy()[i].item()))


@pytest.mark.parametrize("name", DISCRETE)
def test_the_probabilities_sum_to_one_and_give_entropy_and_moments(name):
    """By enumeration: to 60 for Poisson, whose rest is below 1e-30."""
    p, _ = made(name)
    low, high = DISCRETE[name].interval
    x = tg.arange(low, high + 1, dtype=np.int64 if name.startswith("Cat") else np.float64).reshape(-1, 1)
    logs = p.log_prob(x).detach().numpy()
    probs = np.exp(logs)
    np.testing.assert_allclose(probs.sum(0), 1, rtol=1e-12)
    values = x.numpy().astype(float)
    if not name.startswith("Cat"):
        mean = (probs * values).sum(0)
        np.testing.assert_allclose(p.mean.numpy(), mean, rtol=1e-12)
        np.testing.assert_allclose(p.variance.numpy(), (probs * (values - mean) ** 2).sum(0), rtol=1e-10)
    else:
        assert p.mean.isnan().all() and p.variance.isnan().all()
    np.testing.assert_array_equal(p.mode.numpy(), values[probs.argmax(0), 0])
    if name != "Poisson":
        np.testing.assert_allclose(p.entropy().numpy(), -(probs * logs).sum(0), rtol=1e-12)
        support = p.enumerate_support()
        np.testing.assert_array_equal(support.numpy(), np.broadcast_to(values, (len(values), 2)))
        assert p.enumerate_support(expand=False).shape == (len(values), 1)


@pytest.mark.parametrize("name", [n for n in ALL if element(n, 0) is not None])
def test_agrees_with_scipy(name):
    p, _ = made(name)
    points = np.array(ALL[name].points)
    ours = p.log_prob(tg.tensor(points[:, None])).detach().numpy()
    for i in range(2):
        other = element(name, i)
        with np.errstate(divide="ignore"):
            theirs = other.logpdf(points) if name in CONTINUOUS else other.logpmf(points)
        np.testing.assert_allclose(ours[:, i], theirs, rtol=1e-10, atol=1e-12)
        if name in WITH_ENTROPY:
            assert p.entropy()[i].item() == pytest.approx(float(other.entropy()), rel=1e-8)
        if name in WITH_CDF and name != "StudentT":
            cdf = p.cdf(tg.tensor(points[:, None])).detach().numpy()[:, i]
            np.testing.assert_allclose(cdf, other.cdf(points), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("name", [n for n in WITH_CDF if n != "StudentT"])
def test_the_derivative_of_the_distribution_function_is_the_density(name):
    p, _ = made(name)
    x = tg.tensor(np.array(CONTINUOUS[name].points)[:, None] + np.zeros(2), requires_grad=True)
    (slope,) = tg.grad(p.cdf(x).sum(), x)
    np.testing.assert_allclose(slope.detach().numpy(), p.log_prob(x).exp().detach().numpy(), rtol=1e-9)


@pytest.mark.parametrize("name", WITH_ICDF)
def test_the_inverse_distribution_function_is_the_inverse(name):
    p, _ = made(name)
    u = tg.tensor(np.linspace(0.01, 0.99, 9)[:, None] + np.zeros(2))
    np.testing.assert_allclose(p.cdf(p.icdf(u)).numpy(), u.numpy(), rtol=1e-9)
    x = tg.tensor(np.array(CONTINUOUS[name].points)[:, None] + np.zeros(2))
    np.testing.assert_allclose(p.icdf(p.cdf(x)).numpy(), x.numpy(), rtol=1e-7, atol=1e-9)


# Samples


def kolmogorov_smirnov(samples, cdf):
    """The largest distance of the empirical distribution function from the true one."""
    x = np.sort(samples)
    f, n = cdf(x), len(x)
    return max((np.arange(1, n + 1) / n - f).max(), (f - np.arange(n) / n).max())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CONTINUOUS)
def test_samples_come_from_the_distribution(name, dtype, device):
    """Dvoretzky, Kiefer, Wolfowitz, Massart: the distance is above √(log(2/α)/(2n)) with a probability of at most α = 1e-9."""
    n = 2000
    p, _ = made(name, dtype, device)
    exact, _ = made(name)
    exact._validate_args = False
    generator = tg.Generator(device).manual_seed(3)
    samples = p.sample((n,), generator=generator)
    assert samples.shape == (n, 2) and samples.dtype == dtype and not samples.requires_grad
    assert p.support.check(samples).all()
    x = to_numpy(samples.array).astype(np.float64)
    for i in range(2):

        def cdf(x, i=i):
            if name == "StudentT":
                return element(name, i).cdf(x)
            return exact.cdf(tg.tensor(x[:, None])).detach().numpy()[:, i]

        assert kolmogorov_smirnov(x[:, i], cdf) < math.sqrt(math.log(2e9) / (2 * n))
    again = p.sample((n,), generator=tg.Generator(device).manual_seed(3))
    np.testing.assert_array_equal(to_numpy(again.array), to_numpy(samples.array))


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete_samples_come_from_the_distribution(name, device):
    """Hoeffding: a frequency is off by more than √(log(2/α)/(2n)) with a probability of at most α."""
    n = 3000
    p, _ = made(name, np.float32, device)
    low, high = DISCRETE[name].interval
    x = to_numpy(p.sample((n,), generator=tg.Generator(device).manual_seed(5)).array)
    assert x.shape == (n, 2) and (x.dtype == np.int64 if name.startswith("Cat") else x.dtype == np.float32)
    exact, _ = made(name)
    for value in range(low, min(high, 8) + 1):
        given = tg.tensor(value) if name.startswith("Cat") else tg.tensor(float(value), dtype=np.float64)
        probs = exact.log_prob(given).exp().numpy()
        assert (np.abs((x == value).mean(0) - probs) < math.sqrt(math.log(2e9) / (2 * n))).all()


# Gradients


@pytest.fixture
def unchecked():
    """Finite differences may step out of a support a little."""
    D.Distribution.set_default_validate_args(False)
    yield
    D.Distribution.set_default_validate_args(True)


@pytest.mark.parametrize("name", ALL)
def test_log_prob_can_be_differentiated_twice(name, unchecked):
    """In the arguments and, where there is one, in the value."""
    family = ALL[name]
    x = tg.tensor(np.array(family.points)[:, None] + np.zeros(2)) + 0.013 * (name in CONTINUOUS)
    if name in DISCRETE:
        x = x.long() if name.startswith("Cat") else x
        report = gradcheck(lambda *args: family.make(*args).log_prob(x), *made(name)[1])
    else:
        report = gradcheck(lambda x, *args: family.make(*args).log_prob(x), x, *made(name)[1])
    assert report, report


@pytest.mark.parametrize("name", [n for n in WITH_ENTROPY if n != "Uniform"])
def test_the_entropy_can_be_differentiated_twice(name, unchecked):
    family = ALL[name]
    report = gradcheck(lambda *args: family.make(*args).entropy(), *made(name)[1])
    assert report, report


@pytest.mark.parametrize("name", [n for n in CONTINUOUS if n != "mixture"])
def test_rsample_can_be_differentiated_twice(name, unchecked):
    family = CONTINUOUS[name]
    report = gradcheck(lambda *args: family.make(*args).rsample((3,)), *made(name)[1])
    assert report, report


@pytest.mark.parametrize("name", [n for n in WITH_ICDF if n not in ("RelaxedBernoulli", "tanh of Normal")])
def test_the_gradient_of_a_sample_is_that_of_its_quantile(name):
    """dx/da = -(∂F/∂a)/p(x): the one function of noise and argument that keeps F(x) = u; whatever way it was drawn.

    For one-dimensional families every reparameterisation that is monotone in its noise has this gradient.
    """
    family = CONTINUOUS[name]
    if name == "Laplace":
        return  # the difference of two numbers: another noise, with another gradient of the same expectation
    p, args = made(name, requires_grad=True)
    x = p.rsample()
    found = tg.grad(x.sum(), args, allow_unused=True)
    fixed = x.detach()
    slopes = tg.grad(family.make(*args).cdf(fixed).sum(), args, allow_unused=True)
    for g, s in zip(found, slopes, strict=True):
        np.testing.assert_allclose(
            g.detach().numpy(), (-s / p.log_prob(fixed).exp()).detach().numpy(), rtol=1e-7, atol=1e-9
        )


# Shapes, copies, dtypes


@pytest.mark.parametrize("name", ALL)
def test_shapes_expand_and_copies(name, device):
    p, _ = made(name, np.float32, device)
    assert p.batch_shape == (2,) and p.event_shape == ()
    assert p.sample().shape == (2,) and p.sample((3, 0, 4)).shape == (3, 0, 4, 2)
    wide = p.expand((5, 3, 2))
    assert wide.batch_shape == (5, 3, 2) and p.batch_shape == (2,)
    x = wide.sample((4,))
    assert x.shape == (4, 5, 3, 2) and x.device == p._like().device
    logs = wide.log_prob(x)
    assert logs.shape == (4, 5, 3, 2) and logs.dtype == np.float32
    np.testing.assert_array_equal(to_numpy(logs.array), to_numpy(p.log_prob(x).array))
    assert type(p).__name__ in repr(p)
    if name not in ("tanh of Normal",):
        other = copy.deepcopy(p)
        np.testing.assert_array_equal(to_numpy(other.log_prob(x).array), to_numpy(logs.array))
    if device == "cpu":
        assert pickle.loads(pickle.dumps(p)).batch_shape == (2,)
    with pytest.raises(NotImplementedError, match="has no rsample") if not p.has_rsample else _nothing():
        p.rsample()


class _nothing:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


@pytest.mark.parametrize("name", ["Normal", "Laplace", "Logistic", "Gumbel", "Exponential", "Uniform"])
def test_half_precision_stays_finite(name):
    p, _ = made(name, np.float16)
    x = p.sample((5000,))
    assert x.dtype == np.float16 and np.isfinite(x.numpy()).all()


def test_numbers_are_enough():
    p = D.Normal(0, 1)
    assert p.batch_shape == () and p.loc.dtype == tg.get_default_dtype()
    assert p.log_prob(0.5).item() == pytest.approx(-0.125 - math.log(2 * math.pi) / 2, rel=1e-6)
    assert D.Normal(tg.zeros(3, dtype=np.float64), 1).scale.dtype == np.float64
    assert D.Categorical(tg.ones(4)).log_prob(2).item() == pytest.approx(-math.log(4), rel=1e-6)
    with pytest.raises(TypeError, match=r"a shape is expected, got the number 3; write sample\(\(3,\)\)"):
        p.sample(3)


def test_a_generator_draws_and_leaves_the_default_alone():
    state = tg.get_rng_state()
    for name in ALL:
        made(name)[0].sample((2,), generator=tg.Generator().manual_seed(0))
    assert str(tg.get_rng_state()) == str(state)


@pytest.mark.filterwarnings("ignore:compile")
@pytest.mark.parametrize("name", ALL)
def test_a_compiled_step_draws_anew(name):
    """Bit for bit what the step computes uncompiled, from the same seed; or it says that it runs uncompiled."""
    family, shift = ALL[name], tg.tensor(0.1, dtype=np.float64)

    def step(*args):
        p = family.make(*(a * 1.0 for a in args))
        x = p.sample()
        return p.log_prob(x).sum() + (x * shift).sum()

    runs = []
    for function in (step, tg.compile(step)):
        tg.manual_seed(0)
        args = [tg.tensor(a, dtype=np.float64) for a in family.args]
        runs.append([function(*(a * (1 + i / 50) for a in args)).item() for i in range(5)])
    assert runs[0] == runs[1] and len(set(runs[0])) > 1


# PyTorch


@pytest.mark.parametrize("name", [n for n, f in ALL.items() if f.torch])
def test_agrees_with_pytorch(name):
    torch = pytest.importorskip("torch")
    kind, family = name.split()[0], ALL[name]
    key = "logits" if "logits" in name else "probs"
    there = [torch.tensor(a, dtype=torch.float64) for a in family.args]
    if kind == "RelaxedBernoulli":
        q = torch.distributions.RelaxedBernoulli(there[0], probs=there[1])
    elif kind in ("Bernoulli", "Categorical"):
        q = getattr(torch.distributions, kind)(**{key: there[0]})
    else:
        q = getattr(torch.distributions, kind)(*there)
    p, _ = made(name)
    x = np.array(family.points)[:, None] + np.zeros(2)
    np.testing.assert_allclose(
        p.log_prob(tg.tensor(x.astype(int) if kind == "Categorical" else x)).detach().numpy(),
        q.log_prob(torch.tensor(x)).numpy(),
        rtol=1e-9,
        atol=1e-12,
    )
    for what in ("mean", "variance", "stddev", "mode"):
        if (what, kind) not in [("mode", "Poisson")]:
            try:
                theirs = getattr(q, what).numpy()
            except NotImplementedError:
                continue
            np.testing.assert_allclose(getattr(p, what).numpy(), theirs, rtol=1e-9, err_msg=what)
    if name in WITH_ENTROPY:
        np.testing.assert_allclose(p.entropy().numpy(), q.entropy().numpy(), rtol=1e-9)
    assert p.batch_shape == tuple(q.batch_shape) and p.event_shape == tuple(q.event_shape)


# Mistakes


@pytest.mark.parametrize(
    "make,words",
    [
        (lambda: D.Normal(0.0, -1.0), r"Normal: scale must be positive, got -1\.0 .*; softplus or exp makes"),
        (
            lambda: D.Normal(tg.zeros(3), tg.tensor([1.0, 0.0, -2.0])),
            r"Normal: scale must be positive, got 0\.0 among 3",
        ),
        (lambda: D.Normal(float("nan"), 1.0), "Normal: loc must be a number, not nan, got nan"),
        (lambda: D.Laplace(0.0, float("nan")), "Laplace: scale must be positive, got nan"),
        (lambda: D.Uniform(1.0, 1.0), "Uniform: high must be above low, got 1.0"),
        (lambda: D.Exponential(0.0), "Exponential: rate must be positive, got 0.0"),
        (lambda: D.Bernoulli(1.5), "Bernoulli: probs must be from 0 to 1, got 1.5 .*logits="),
        (lambda: D.Bernoulli(), "Bernoulli: pass exactly one of probs, logits; got none"),
        (lambda: D.Bernoulli(0.5, 0.0), "got probs and logits"),
        (lambda: D.Categorical(tg.tensor([-1.0, 2.0])), "Categorical: probs must be at least 0 and not all 0"),
        (lambda: D.Categorical(0.3), "Categorical: probs must have a last dimension of classes, got a number"),
        (lambda: D.RelaxedBernoulli(0.0, 0.3), r"RelaxedBernoulli: temperature must be positive, got 0\.0"),
        (lambda: D.Poisson(-1.0), "Poisson: rate must be at least 0, got -1.0"),
        (lambda: D.Normal(0.0, 1.0).log_prob(float("nan")), r"Normal\.log_prob: a value must be a number, not nan"),
        (lambda: D.Exponential(1.0).log_prob(-2.0), r"Exponential\.log_prob: a value must be at least 0, got -2\.0"),
        (lambda: D.Uniform(0.0, 1.0).log_prob(1.5), r"a value must be from 0 to 1, got 1\.5"),
        (lambda: D.Bernoulli(0.5).log_prob(0.3), r"a value must be 0 or 1, got 0\.3 .*validate_args=False"),
        (lambda: D.Categorical(tg.ones(3)).log_prob(3), "a value must be an integer from 0 to 2, got 3"),
        (lambda: D.Normal(0.0, 1.0).icdf(1.5), r"Normal\.icdf: a probability must be from 0 to 1, got 1\.5"),
        (
            lambda: D.Normal(tg.zeros(3), 1.0).log_prob(tg.zeros(4)),
            r"Normal\.log_prob: a value of shape \(4,\) does not broadcast with batch_shape \(3,\)",
        ),
        (lambda: D.Distribution.set_default_validate_args(3), "True or False is expected, got 3"),
    ],
)
def test_errors(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_checks_can_be_switched_off():
    assert D.Exponential(1.0, validate_args=False).log_prob(-2.0).item() == -math.inf
    assert D.Uniform(0.0, 1.0, validate_args=False).log_prob(1.5).item() == -math.inf
    # the cross-entropy of a grey value
    grey = D.Bernoulli(0.3, validate_args=False).log_prob(0.25).item()
    assert grey == pytest.approx(0.25 * math.log(0.3) + 0.75 * math.log(0.7), rel=1e-5)
    D.Distribution.set_default_validate_args(False)
    try:
        assert math.isnan(D.Normal(0.0, -1.0).log_prob(0.0).item())
    finally:
        D.Distribution.set_default_validate_args(True)
    with pytest.raises(ValueError, match="scale must be positive"):
        D.Normal(0.0, -1.0)
