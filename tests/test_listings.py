"""The programs that the course's slides print run after their imports were changed, and do what the slides say."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

import tinygen as tg
import tinygen.models
from tinygen.autograd import jacobian

LISTINGS = Path(__file__).parent / "listings"
LIBRARIES = ["tinygen", "torch"]


def library(name: str) -> Any:
    return tg if name == "tinygen" else pytest.importorskip("torch")


def run(listing: str, name: str, **given: Any) -> dict[str, Any]:
    """The names that the program leaves behind.  For tinygen its import lines are changed, and nothing else."""
    source = (LISTINGS / listing).read_text()
    if name == "tinygen":
        source = re.sub(r"^import torch$", "import tinygen as torch", source, flags=re.MULTILINE)
        source = re.sub(r"^(import|from) torch\b", r"\1 tinygen", source, flags=re.MULTILINE)
    namespace = {"__name__": listing, **given}
    exec(compile(source, str(LISTINGS / listing), "exec"), namespace)
    return namespace


@pytest.fixture(params=LIBRARIES)
def name(request: pytest.FixtureRequest) -> str:
    library(request.param)
    return request.param


@pytest.fixture
def images() -> np.ndarray:
    """1200 handwritten digits, 8 x 8 in rows, between 0 and 1."""
    return (load_digits().data[:1200] / 16).astype(np.float32)


def test_autoencoder(name, images):
    out = run("autoencoder.py", name, train_input=library(name).tensor(images))
    assert out["hidden"].shape == (100, 10) and out["output"].shape == (100, 64)
    assert out["output"].min().item() > 0 and out["output"].max().item() < 1 and out["hidden"].min().item() >= 0
    mean_image = ((images - images.mean(0)) ** 2).sum(1).mean()
    assert out["losses"][2] < out["losses"][1] < out["losses"][0]
    assert out["losses"][2] < 1.05 * mean_image, "three epochs bring it to about the error of the mean image"


def test_vae(name, images):
    out = run("vae.py", name, train_input=library(name).tensor(images))
    history = out["history"]
    assert np.mean(history[-5:]) < np.mean(history[:5]) - 5, "the bound rises by many nats in three epochs"
    assert out["sample"].shape == (64, 1, 8, 8) and 0 <= out["sample"].min().item() <= out["sample"].max().item() <= 1
    assert bool((out["first"] == out["second"]).all()), "in eval mode the mean is decoded: nothing is random"
    mu, log_var = out["mu"].detach().numpy(), out["log_var"].detach().numpy()
    kl = 0.5 * (np.exp(log_var) + mu**2 - 1 - log_var).sum()
    np.testing.assert_allclose(out["KLD"].item(), kl, rtol=1e-4)  # float32, 1000 terms
    assert out["KLD"].item() > 0


def test_gaussian_vae(name, tmp_path):
    out = run("gaussian_vae.py", name, folder=tmp_path)
    losses = out["losses"]
    # independent coordinates of variance 1 would cost log(2 pi e) = 2.84 nats
    assert losses[-1] < losses[0] and losses[-1] < math.log(2 * math.pi * math.e) + 0.1
    train, synth = (np.loadtxt(tmp_path / f"toy-vae-{part}.dat") for part in ("train", "synth"))
    assert train.shape == (250, 2) and synth.shape == (1000, 2) and np.isfinite(synth).all()
    assert np.abs(synth.mean(0) - train.mean(0)).max() < 0.3, "the samples lie where the data does"


@pytest.fixture
def large_images(images) -> np.ndarray:
    """50 of them as 28 x 28: every pixel three times in each direction, and a margin of two."""
    x = images[:50].reshape(50, 1, 8, 8).repeat(3, 2).repeat(3, 3)
    return np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)))


def test_conv_autoencoder(name, large_images):
    out = run("conv_autoencoder.py", name, train_input=library(name).tensor(large_images), embedding_dim=8, nb_steps=3)
    assert sum(p.numel() for p in out["model"].parameters()) == 112_457
    sides = [size[-1] for size in out["sizes"]]
    assert sides == [28, 24, 20, 9, 4, 1, 4, 9, 20, 24, 28] and out["sizes"][5] == (1, 8, 1, 1)
    assert out["losses"][-1] < out["losses"][0]
    assert out["synth"].shape == (16, 1, 28, 28) and out["walk"].shape == (5, 1, 28, 28)
    assert np.isfinite(out["synth"].numpy()).all() and (out["std"].numpy() > 0).all()
    ends = out["model"](out["train_input"][:2]).detach().numpy()
    np.testing.assert_allclose(out["walk"].numpy()[[0, -1]], ends, atol=1e-5)  # float32, in batches of other sizes


def test_conv_vae(name, large_images):
    out = run("conv_vae.py", name, train_input=library(name).tensor(large_images), latent_dim=32, nb_steps=3)
    x = out["train_input"].numpy()
    assert abs(x.mean()) < 1e-5 and abs(x.std() - 1) < 1e-3
    # it starts near answering 0, whose error is the variance 1, and pays half of KL = 1.8 nats per latent
    assert abs(out["losses"][0] - (1 + 0.5 * (math.log(10) - 0.5 + 0.5 * 0.01))) < 0.1
    assert out["losses"][-1] < out["losses"][0] - 0.05
    assert out["output"].shape == x.shape and out["synth"].shape == (16, 1, 28, 28)


def test_the_convolutional_models_are_those_of_the_listings(large_images):
    """From the same weights, tinygen's models have the listings' losses: the autoencoder's as it is, the VAE's in nats."""
    x = tg.tensor(large_images[:10])
    out = run("conv_autoencoder.py", "tinygen", train_input=x, embedding_dim=8, nb_steps=1)
    model = tg.models.ConvAutoencoder(8)
    model.load_state_dict(out["model"].state_dict(), strict=False)
    np.testing.assert_allclose(model.loss(x).item(), tg.nn.functional.mse_loss(out["model"](x), x).item(), rtol=1e-5)

    out = run("conv_vae.py", "tinygen", train_input=x, latent_dim=4, nb_steps=1)
    scale = (out["mean"].item(), out["std"].item())
    vae = tg.models.ConvVAE(4, pixels=scale)
    vae.load_state_dict(out["model"].state_dict(), strict=False)
    tg.manual_seed(1)
    listed = out["objective"](out["model"], out["train_input"], tg.randn(10, 4)).item()
    tg.manual_seed(1)
    constant = 784 / 2 * math.log(2 * math.pi * 784 / 16) + 784 * math.log(scale[1])
    np.testing.assert_allclose(vae.loss(x).item(), 8 * listed + constant, rtol=1e-5)


def test_gan(name, images):
    out = run("gan.py", name, train_input=library(name).tensor(2 * images - 1))
    assert out["generated"].shape == (8, 64) and out["generated"].abs().max().item() <= 1
    # an undecided discriminator loses 2 log 2
    assert abs(out["D_losses"][0] - 2 * math.log(2)) < 0.2 and abs(out["G_losses"][0] - math.log(2)) < 0.2
    assert out["D_losses"][-1] < out["D_losses"][0] - 0.1, "it learns to tell real from fake"
    assert out["real_scores"][-1] > out["fake_scores"][-1] + 0.1


def test_jacobian_of_a_coupling(name):
    out = run("jacobian.py", name)
    J = np.array(out["J"].tolist())
    np.testing.assert_array_equal(J[:3], np.eye(6)[:3])  # what passes through
    np.testing.assert_array_equal(J[3:, 3:], np.diag(np.diag(J[3:, 3:])))  # triangular
    np.testing.assert_allclose(np.diag(J)[3:], out["scale"].tolist()[3:], rtol=1e-6)
    assert (np.abs(J[3:, :3]) > 0).all()
    assert out["text"].startswith("tensor([[")
    if name == "tinygen":
        np.testing.assert_array_equal(jacobian(out["coupling"], out["x"]).numpy(), J.astype(np.float32))


def test_transposed_convolution(name):
    """The numbers on the slides; of the transposed one the slide has only a picture."""
    out = run("conv.py", name)
    assert out["conv"].tolist() == [[[3, 2, 1, 0, 0]]]
    assert out["transposed"].tolist() == [[[0, 0, 1, 2, 3, 0, 0, 0, 0]]]
    assert out["y"].tolist() == [[[2, 7, 4, -4, -2, 1]]]


def test_realnvp(name):
    out = run("realnvp.py", name)
    losses = out["losses"]
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.3
    np.testing.assert_allclose(out["again"].numpy(), out["z"].numpy(), atol=1e-4)  # inverse, then forward, in float32
    masks = [layer.b.tolist()[0] for layer in out["model"].layers]
    for even, odd in zip(masks[::2], masks[1::2], strict=True):
        assert sum(even) == 1 and [a + b for a, b in zip(even, odd, strict=True)] == [1, 1]
    if name == "tinygen":
        model, x = out["model"].double(), out["x"].double()
        for layer in model.layers:
            layer.b = layer.b.double()
        _, logdet = model(x)
        for i in range(3):
            J = jacobian(lambda row: model(row.unsqueeze(0))[0][0], x[i]).numpy()
            np.testing.assert_allclose(np.linalg.slogdet(J)[1], logdet[i].item(), rtol=1e-9)


def test_the_libraries_agree_step_by_step(images):
    """The same starting weights and data: the same losses in both, to the rounding of float32."""
    torch = library("torch")
    ours = run("autoencoder.py", "tinygen", train_input=tg.tensor(images[:100]))
    theirs = run("autoencoder.py", "torch", train_input=torch.tensor(images[:100]))
    start = {k: v.detach().numpy().copy() for k, v in theirs["AutoEncoder"](64, 10).state_dict().items()}
    losses = []
    for out, t in ((ours, tg), (theirs, torch)):
        model = out["AutoEncoder"](64, 10)
        model.load_state_dict({k: t.tensor(v) for k, v in start.items()})
        optimizer = out["optim"].Adam(model.parameters(), lr=1e-3)
        x = t.tensor(images[:100])
        run_losses = []
        for _ in range(20):
            optimizer.zero_grad()
            loss = out["criterion"](model(x)[1], x)
            loss.backward()
            optimizer.step()
            run_losses.append(loss.item())
        losses.append(run_losses)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
