"""The second opinion: values, gradients, names and starting ranges are PyTorch's (where PyTorch is installed)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygen as tg
from tinygen import nn
from tinygen.nn import functional as F

torch = pytest.importorskip("torch")
TF, tnn = torch.nn.functional, torch.nn

RNG = np.random.default_rng(0)
X, Y, Z = (RNG.normal(size=(6, 4)) for _ in range(3))
P, Q = RNG.uniform(0.02, 0.98, (6, 4)), RNG.uniform(0.02, 0.98, (6, 4))
LABELS = np.array([0, 3, 1, 1, 2, 0])
IMAGE, IMAGE_LABELS = RNG.normal(size=(2, 4, 3, 5)), RNG.integers(0, 4, (2, 3, 5))
W = RNG.uniform(0.5, 2.0, 4)
KINKS = np.array([-1.0, -0.5, 0.0, 0.5, 1.0, 20.0, -20.0, 6.0, 3.0, -3.0])

# fmt: off
# what to call with the library's functional module and its tensors, and the arrays; floating ones are differentiated
CASES: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = {
    "relu":             (lambda f, x: f.relu(x), (KINKS,)),
    "leaky_relu":       (lambda f, x: f.leaky_relu(x, 0.2), (KINKS,)),
    "elu":              (lambda f, x: f.elu(x, 0.7), (KINKS,)),
    "silu":             (lambda f, x: f.silu(x), (KINKS,)),
    "gelu":             (lambda f, x: f.gelu(x), (KINKS,)),
    "gelu tanh":        (lambda f, x: f.gelu(x, approximate="tanh"), (KINKS,)),
    "softplus":         (lambda f, x: f.softplus(x, beta=2), (X,)),
    "softplus low":     (lambda f, x: f.softplus(x, 2, 1), (KINKS,)),
    "selu":             (lambda f, x: f.selu(x), (KINKS,)),
    "celu":             (lambda f, x: f.celu(x, 0.5), (KINKS,)),
    "mish":             (lambda f, x: f.mish(x), (KINKS,)),
    "relu6":            (lambda f, x: f.relu6(x), (KINKS,)),
    "hardtanh":         (lambda f, x: f.hardtanh(x, -0.5, 1.0), (KINKS,)),
    "hardswish":        (lambda f, x: f.hardswish(x), (KINKS,)),
    "threshold":        (lambda f, x: f.threshold(x, 0.5, 20.0), (KINKS,)),
    "hardshrink":       (lambda f, x: f.hardshrink(x), (KINKS,)),
    "softshrink":       (lambda f, x: f.softshrink(x), (KINKS,)),
    "softsign":         (lambda f, x: f.softsign(x), (KINKS,)),
    "tanhshrink":       (lambda f, x: f.tanhshrink(x), (KINKS,)),
    "prelu":            (lambda f, x, w: f.prelu(x, w), (X, W)),
    "prelu one":        (lambda f, x, w: f.prelu(x, w), (KINKS, W[:1])),
    "glu":              (lambda f, x: f.glu(x, 0), (X,)),
    "softmin":          (lambda f, x: f.softmin(x, dim=0), (X,)),
    "logsigmoid":       (lambda f, x: f.logsigmoid(x), (KINKS,)),
    "softmax":          (lambda f, x: f.softmax(x, dim=0), (X,)),
    "log_softmax":      (lambda f, x: f.log_softmax(x, dim=-1), (X,)),
    "normalize":        (lambda f, x: f.normalize(x, p=3.0, dim=0), (X,)),
    "linear":           (lambda f, x, w, b: f.linear(x, w, b), (X, Y, Z[:, 0])),
    "bilinear":         (lambda f, x, y, w, b: f.bilinear(x, y, w, b), (X, Y, RNG.normal(size=(3, 4, 4)), W[:3])),
    "embedding":        (lambda f, i, w: f.embedding(i, w, padding_idx=2), (LABELS, X)),
    "embedding short":  (lambda f, i, w: f.embedding(i, w.detach().clone(), max_norm=0.7, norm_type=3.0) * w.sum(), (LABELS, X)),
    "layer_norm":       (lambda f, x, w, b: f.layer_norm(x, (4,), w, b), (X, W, W[::-1].copy())),
    "batch_norm":       (lambda f, x, w, b: f.batch_norm(x, None, None, w, b, True), (X, W, W[::-1].copy())),
    "batch_norm image": (lambda f, x, w, b: f.batch_norm(x, None, None, w, b, True, eps=0.1), (IMAGE, W, W[::-1].copy())),
    "batch_norm eval":  (lambda f, x, w, b: f.batch_norm(x, w.detach(), w.detach(), w, b), (X, W, W[::-1].copy())),
    "mse_loss":         (lambda f, x, y: f.mse_loss(x, y), (X, Y)),
    "l1_loss":          (lambda f, x, y: f.l1_loss(x, y, reduction="sum"), (KINKS, KINKS[::-1].copy())),
    "huber_loss":       (lambda f, x, y: f.huber_loss(x, y, delta=0.5), (KINKS, 0 * KINKS)),
    "smooth_l1_loss":   (lambda f, x, y: f.smooth_l1_loss(x, y, beta=0.5), (KINKS, 0 * KINKS)),
    "bce":              (lambda f, p, y, w: f.binary_cross_entropy(p, y, weight=w.detach()), (P, Q, W)),
    "bce logits":       (lambda f, x, y, w, v: f.binary_cross_entropy_with_logits(x, y, w.detach(), pos_weight=v.detach()), (X, P, W, W[::-1].copy())),
    "bce logits far":   (lambda f, x, y: f.binary_cross_entropy_with_logits(x, y), (1000 * X, P)),
    "cross_entropy":    (lambda f, x, y: f.cross_entropy(x, y), (X, LABELS)),
    "cross_entropy all": (lambda f, x, y, w: f.cross_entropy(x, y, w.detach(), ignore_index=1, label_smoothing=0.2), (X, LABELS, W)),
    "cross_entropy image": (lambda f, x, y: f.cross_entropy(x, y, label_smoothing=0.2, reduction="none"), (IMAGE, IMAGE_LABELS)),
    "cross_entropy soft": (lambda f, x, q, w: f.cross_entropy(x, q, w.detach(), label_smoothing=0.1), (X, P, W)),
    "cross_entropy one": (lambda f, x, y: f.cross_entropy(x, y), (X[0], LABELS[1])),
    "nll_loss":         (lambda f, x, y, w: f.nll_loss(x, y, w.detach(), ignore_index=0), (X, LABELS, W)),
    "gaussian":         (lambda f, x, y, v: f.gaussian_nll_loss(x, y, v, full=True), (X, Y, P)),
    "gaussian small":   (lambda f, x, y, v: f.gaussian_nll_loss(x, y, v, eps=0.5, reduction="sum"), (X, Y, P[:, 0])),
    "gaussian stretch": (lambda f, x, y, v: f.gaussian_nll_loss(x, y, v), (X, Y[:1], P[:1])),
    "gaussian column":  (lambda f, x, y, v: f.gaussian_nll_loss(x, y, v), (X, Y[:, :1], P[:, :1])),
    "poisson":          (lambda f, x, y: f.poisson_nll_loss(x, y), (X, 5 * P)),
    "poisson full":     (lambda f, x, y: f.poisson_nll_loss(x, y, log_input=False, full=True, reduction="sum"), (P, 5 * P)),
    "soft_margin":      (lambda f, x, y: f.soft_margin_loss(x, y.detach()), (X, Y)),
    "multilabel soft":  (lambda f, x, y, w: f.multilabel_soft_margin_loss(x, y, w.detach()), (X, P, W)),
    "multi_margin":     (lambda f, x, y: f.multi_margin_loss(x, y), (X, LABELS)),
    "multi_margin 2":   (lambda f, x, y, w: f.multi_margin_loss(x, y, 2, 0.5, w.detach(), reduction="none"), (X, LABELS, W)),
    "multi_margin one": (lambda f, x, y: f.multi_margin_loss(x, y, margin=2.0), (X[0], LABELS[1])),
    "multi_margin kink": (lambda f, x, y: f.multi_margin_loss(x, y), (KINKS[:8].reshape(2, 4), LABELS[:2])),
    "margin_ranking":   (lambda f, x, y: f.margin_ranking_loss(x, y, (x.detach() > 0) * 2 - 1, 0.5), (KINKS, 0 * KINKS)),
    "hinge_embedding":  (lambda f, x: f.hinge_embedding_loss(x, (x.detach() > 0.7) * 2 - 1, 0.5, reduction="sum"), (KINKS,)),
    "cosine_embedding": (lambda f, x, y: f.cosine_embedding_loss(x, y, (x.detach()[:, 0] > 0) * 2 - 1, 0.2), (X, Y)),
    "cosine_embedding one": (lambda f, x, y: f.cosine_embedding_loss(x, y, (x.detach()[0] > 9) * 2 - 1, -0.5), (X[0], Y[0])),
    "cosine_similarity": (lambda f, x, y: f.cosine_similarity(x, y, dim=0), (X, Y)),
    "cosine_similarity 0": (lambda f, x, y: f.cosine_similarity(x * 0, y), (X, Y)),
    "pairwise_distance": (lambda f, x, y: f.pairwise_distance(x, y, p=3.0), (X, Y)),
    "pairwise_distance 0": (lambda f, x: f.pairwise_distance(x, x.detach(), keepdim=True), (X,)),
    "triplet":          (lambda f, x, y, z: f.triplet_margin_loss(x, y, z), (X, Y, Z)),
    "triplet swap":     (lambda f, x, y, z: f.triplet_margin_loss(x, y, z, 2.0, 1.0, 0.1, True, reduction="none"), (X, Y, Z)),
    "triplet distance": (lambda f, x, y, z: f.triplet_margin_with_distance_loss(x, y, z, margin=0.5, swap=True), (X, Y, Z)),
    "rms_norm":         (lambda f, x, w: f.rms_norm(x, (4,), w, eps=0.1), (X, W)),
    "rms_norm eps":     (lambda f, x: f.rms_norm(1e-8 * x, (4,)), (X,)),
    "local_response":   (lambda f, x: f.local_response_norm(x, 3, alpha=0.5), (IMAGE,)),
    "local_response 2": (lambda f, x: f.local_response_norm(x, 2, 0.1, 2.0, 3.0), (IMAGE,)),
    "kl_div":           (lambda f, x, t: f.kl_div(x, t, reduction="batchmean"), (X, P)),
    "kl_div log":       (lambda f, x, t: f.kl_div(x, t, reduction="sum", log_target=True), (X, Y)),
}
# fmt: on


@pytest.mark.parametrize("name", CASES)
def test_functions(name):
    """Value and gradients, in float64."""
    call, arrays = CASES[name]
    ours = [tg.tensor(np.asarray(a), requires_grad=np.asarray(a).dtype.kind == "f") for a in arrays]
    theirs = [torch.tensor(np.asarray(a), requires_grad=np.asarray(a).dtype.kind == "f") for a in arrays]
    y, z = call(F, *ours), call(TF, *theirs)
    assert tuple(y.shape) == tuple(z.shape)
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-11, atol=1e-13)
    cotangent = np.random.default_rng(1).normal(size=y.shape)
    y.backward(tg.tensor(cotangent))
    z.backward(torch.tensor(cotangent))
    for a, b in zip(ours, theirs, strict=True):
        if b.grad is None:
            assert a.grad is None
        else:
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-10, atol=1e-12)


def test_bce_of_certain_predictions():
    """0/0 and 1/0 end at the same numbers; PyTorch's 1e-12 is a float32 constant in float64 too, hence 1e-8."""
    p, y = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0, 1.0])
    ours, theirs = tg.tensor(p, requires_grad=True), torch.tensor(p, requires_grad=True)
    a, b = F.binary_cross_entropy(ours, tg.tensor(y)), TF.binary_cross_entropy(theirs, torch.tensor(y))
    a.backward()
    b.backward()
    assert a.item() == b.item() == 50
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-8)


# fmt: off
MODELS: list[Callable[[Any], Any]] = [
    lambda n: n.Linear(3, 4),
    lambda n: n.Linear(3, 4, bias=False),
    lambda n: n.Bilinear(2, 3, 4),
    lambda n: n.Embedding(5, 3),
    lambda n: n.PReLU(3),
    lambda n: n.BatchNorm1d(3),
    lambda n: n.BatchNorm1d(3, affine=False),
    lambda n: n.BatchNorm1d(3, track_running_stats=False),
    lambda n: n.BatchNorm2d(3),
    lambda n: n.InstanceNorm1d(3),
    lambda n: n.InstanceNorm2d(3, affine=True, track_running_stats=True),
    lambda n: n.GroupNorm(2, 4),
    lambda n: n.GroupNorm(2, 4, bias=False),
    lambda n: n.BatchNorm2d(3, bias=False),
    lambda n: n.InstanceNorm1d(3, affine=True, bias=False),
    lambda n: n.RMSNorm(4),
    lambda n: n.MultiMarginLoss(weight=n.LayerNorm(3).weight.detach()),
    lambda n: n.LayerNorm((2, 3)),
    lambda n: n.Sequential(n.Linear(2, 3), n.BatchNorm1d(3), n.ReLU(), n.Sequential(n.Dropout(0.1), n.Linear(3, 1))),
    lambda n: n.Sequential(n.Linear(2, 3), n.ReLU(), n.Linear(3, 1))[1:],
    lambda n: n.ModuleList([n.Linear(2, 3), n.ModuleDict({"a": n.LayerNorm(2), "b": n.Tanh()})]),
    lambda n: n.ParameterList([n.Parameter(n.Linear(2, 3).weight)]),
    lambda n: n.ParameterDict({"a": n.Parameter(n.Linear(2, 3).weight), "b": n.Parameter(n.Linear(1, 1).weight)}),
    lambda n: n.Embedding.from_pretrained(n.Linear(2, 3).weight.detach()),
    lambda n: n.CrossEntropyLoss(weight=n.LayerNorm(3).weight.detach()),
]
# fmt: on


@pytest.mark.parametrize("i", range(len(MODELS)))
def test_state_dicts_carry_over(i):
    """The same keys in the same order with the same shapes and dtypes; loading works in both directions."""
    ours, theirs = MODELS[i](nn), MODELS[i](tnn)
    state = {k: v.numpy() for k, v in theirs.state_dict().items()}
    assert [(k, tuple(v.shape), v.dtype) for k, v in ours.state_dict().items()] == [
        (k, v.shape, v.dtype) for k, v in state.items()
    ]
    assert [k for k, _ in ours.named_parameters()] == [k for k, _ in theirs.named_parameters()]
    assert [k for k, _ in ours.named_buffers()] == [k for k, _ in theirs.named_buffers()]
    assert [k for k, _ in ours.named_modules()] == [k for k, _ in theirs.named_modules()]
    ours.load_state_dict(theirs.state_dict())
    assert all(np.array_equal(v.numpy(), state[k]) for k, v in ours.state_dict().items())
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})


REPRS = [  # not of the normalisations: there PyTorch's versions differ
    lambda n: n.Linear(3, 4),
    lambda n: n.Embedding(5, 3),
    lambda n: n.Sequential(n.Linear(2, 3), n.ReLU(), n.Sequential(n.LeakyReLU(0.2), n.Softmax(dim=1))),
    lambda n: n.ModuleDict({"a": n.Flatten(), "b": n.Identity()}),
    lambda n: n.GELU(),
    lambda n: n.Softplus(),
    lambda n: n.ELU(),
    lambda n: n.ReLU(True),
    lambda n: n.LeakyReLU(0.2, True),
    lambda n: n.Sequential(n.ReLU6(), n.SELU(), n.CELU(0.5), n.Mish(), n.Hardswish(), n.Hardsigmoid(), n.Softsign()),
    lambda n: n.Sequential(
        n.Hardtanh(-1, 2), n.Threshold(0.1, 20), n.PReLU(4), n.GLU(), n.Softmin(dim=1), n.Softmax2d()
    ),
    lambda n: n.Sequential(n.Hardshrink(), n.Softshrink(0.3), n.Tanhshrink(), n.LogSigmoid()),
]


@pytest.mark.parametrize("make", REPRS)
def test_repr(make):
    assert repr(make(nn)) == repr(make(tnn))


@pytest.mark.parametrize("make", [lambda n: n.Linear(50, 400), lambda n: n.Bilinear(40, 20, 30)])
def test_where_layers_start(make):
    """The ranges agree: the largest of n uniform draws falls short of the bound by 1/n on average, hardly ever by 8/n."""
    for a, b in zip(make(nn).parameters(), make(tnn).parameters(), strict=True):
        assert abs(float(a.detach().abs().max()) / float(b.detach().abs().max()) - 1) < 8 / a.numel()


# fmt: off
NORMALISATIONS: list[tuple[Callable[..., Any], tuple[int, ...]]] = [
    (lambda n, **o: n.BatchNorm1d(4, momentum=0.3, **o),                                            (5, 4, 2)),
    (lambda n, **o: n.BatchNorm2d(4, momentum=None, **o),                                           (5, 4, 2, 3)),
    (lambda n, **o: n.BatchNorm3d(4, eps=0.1, **o),                                                 (3, 4, 2, 1, 2)),
    (lambda n, **o: n.InstanceNorm1d(4, affine=True, **o),                                          (5, 4, 3)),
    (lambda n, **o: n.InstanceNorm2d(4, affine=True, track_running_stats=True, momentum=0.3, **o),  (5, 4, 2, 3)),
    (lambda n, **o: n.InstanceNorm2d(4, **o),                                                       (4, 2, 3)),
    (lambda n, **o: n.InstanceNorm3d(4, track_running_stats=True, **o),                             (3, 4, 2, 1, 2)),
    (lambda n, **o: n.GroupNorm(2, 4, eps=0.1, **o),                                                (5, 4, 2, 3)),
    (lambda n, **o: n.RMSNorm((2, 3), **o),                                                         (5, 2, 3)),
    (lambda n, **o: n.GroupNorm(2, 4, bias=False, **o),                                             (5, 4, 2)),
    (lambda n, **o: n.GroupNorm(4, 4, affine=False, **o),                                           (5, 4, 3)),
]
# fmt: on


@pytest.mark.parametrize("i", range(len(NORMALISATIONS)))
def test_normalisations_in_training_and_evaluation(i):
    make, shape = NORMALISATIONS[i]
    ours, theirs = make(nn, dtype=tg.float64), make(tnn, dtype=torch.float64)
    for k in range(3):
        x = np.random.default_rng(k).normal(size=shape)
        if k == 2:
            ours, theirs = ours.eval(), theirs.eval()
        a, b = tg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        out = ours(a), theirs(b)
        np.testing.assert_allclose(out[0].detach().numpy(), out[1].detach().numpy(), rtol=1e-11, atol=1e-13)
        out[0].square().sum().backward()
        out[1].square().sum().backward()
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-9, atol=1e-11)  # sums that cancel
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-10, atol=1e-12)
        for p, q in zip(ours.buffers(), theirs.buffers(), strict=True):
            np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-12, atol=1e-15)
