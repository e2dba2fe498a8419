"""Autoencoders: gradients, the linear case's known minimum, weights that are truly tied."""

import numpy as np
import pytest

import tinygen as tg
from tinygen import evaluate, nn
from tinygen.models import Autoencoder, LinearAutoencoder, TiedAutoencoder
from tinygen.testing import assert_gradients

SMOOTH = nn.Tanh  # finite differences need a smooth code


class Loss(nn.Module):
    """A model's loss as a function of its parameters and the batch."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, *batch):
        return self.model.loss(*batch)


def batch(n=3, d=6, seed=0):
    return tg.tensor(0.25 + 0.5 * np.random.default_rng(seed).random((n, d)))  # finite differences stay in [0, 1]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Autoencoder((6, 5, 2)),
        lambda: Autoencoder((6, 5, 2), code_activation=nn.Identity()),
        lambda: LinearAutoencoder(6, 2),
        lambda: LinearAutoencoder(6, 2, bias=False),
        lambda: TiedAutoencoder(6, 2),
    ],
    ids=["relu code", "free code", "linear", "linear without bias", "tied"],
)
def test_gradients_of_the_loss(make):
    tg.manual_seed(1)
    assert_gradients(Loss(make()), batch())


def test_the_deck_network_has_its_sizes():
    model = Autoencoder()
    h, out = model(tg.rand(2, 784))
    assert h.shape == (2, 10) and out.shape == (2, 784)
    assert sum(p.numel() for p in model.parameters()) == 2 * 784 * 256 + 2 * 256 * 10 + 256 + 10 + 256 + 784
    assert bool((h >= 0).all()) and bool((out > 0).all()) and bool((out < 1).all())


def test_loss_is_summed_over_pixels_and_averaged_over_the_batch():
    model = Autoencoder((6, 5, 2)).double()
    x = batch(4)
    expected = ((x.numpy() - model.reconstruct(x).numpy()) ** 2).sum() / 4
    np.testing.assert_allclose(model.loss(x).item(), expected)


def test_denoising_predicts_the_target_not_the_input():
    model = Autoencoder((6, 5, 2)).double()
    x, target = batch(seed=1), batch(seed=2)
    expected = ((target.numpy() - model.reconstruct(x).numpy()) ** 2).sum() / 3
    np.testing.assert_allclose(model.loss(x, target).item(), expected)


@pytest.mark.parametrize("seed", range(3))
def test_pca_is_a_stationary_point_of_the_linear_autoencoder(seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((50, 6)) @ rng.standard_normal((6, 6)) + 1
    pca = evaluate.PCA.fit(x, 3)
    model = LinearAutoencoder(6, 3).double()
    mix = rng.standard_normal((3, 3))  # any basis of the subspace does
    with tg.no_grad():
        model.encoder.weight.copy_(mix @ pca.components)
        model.encoder.bias.copy_(-mix @ pca.components @ pca.mean)
        model.decoder.weight.copy_((np.linalg.inv(mix).T @ pca.components).T)
        model.decoder.bias.copy_(pca.mean)
    loss = model.loss(tg.tensor(x))
    loss.backward()
    np.testing.assert_allclose(loss.item(), evaluate.squared_error(pca.reconstruct, x), rtol=1e-9)
    for p in model.parameters():
        np.testing.assert_allclose(p.grad.numpy(), 0, atol=1e-9)
    # and it is a minimum along the way to a random other model
    with tg.no_grad():
        for p in model.parameters():
            p.add_(1e-3 * tg.randn_like(p))
        assert model.loss(tg.tensor(x)).item() > loss.item()


def test_tied_weights_are_one_parameter_that_learns_from_both_places():
    tied = TiedAutoencoder(6, 2).double()
    assert [name for name, _ in tied.named_parameters()] == ["visible_bias", "encoder.weight", "encoder.bias"]
    untied = Autoencoder((6, 2)).double()
    with tg.no_grad():
        untied.encoder[0].weight.copy_(tied.encoder.weight)
        untied.encoder[0].bias.copy_(tied.encoder.bias)
        untied.decoder[0].weight.copy_(tied.encoder.weight.T)
        untied.decoder[0].bias.copy_(tied.visible_bias)
    x = batch()
    for model in (tied, untied):
        model.loss(x).backward()
    both = untied.encoder[0].weight.grad.numpy() + untied.decoder[0].weight.grad.numpy().T
    np.testing.assert_allclose(tied.encoder.weight.grad.numpy(), both, rtol=1e-10)


def test_too_few_sizes_are_refused():
    with pytest.raises(ValueError, match=r"Autoencoder: .*sizes=\(784,\)"):
        Autoencoder((784,))
