"""What evaluates in the middle of a training leaves everything as it was: the mode of every module, draws, generators."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import models, nn
from tinygen.cli import judge, train
from tinygen.models.flow import mean_bits_per_dim


def nests() -> st.SearchStrategy[nn.Module]:
    """Modules within modules, each in a mode of its own."""

    def in_a_mode(module: nn.Module) -> st.SearchStrategy[nn.Module]:
        def with_mode(mode: bool) -> nn.Module:
            module.training = mode
            return module

        return st.booleans().map(with_mode)

    leaf = st.builds(nn.Dropout).flatmap(in_a_mode)
    return st.recursive(
        leaf,
        lambda inner: st.lists(inner, max_size=3).map(lambda ms: nn.Sequential(*ms)).flatmap(in_a_mode),
        max_leaves=6,
    )


def modes(*modules: nn.Module) -> list[bool]:
    return [part.training for module in modules for part in module.modules()]


def mix(module: nn.Module, seed: int = 0) -> list[bool]:
    """Every part in a random mode, which is returned; some in each."""
    rng = np.random.default_rng(seed)
    for i, part in enumerate(module.modules()):
        part.training = bool(rng.integers(2)) if i else True
    return modes(module)


@given(one=nests(), other=nests(), fails=st.booleans())
def test_every_module_has_its_own_mode_back(one, other, fails):
    before = modes(one, other)
    try:
        with nn.utils.evaluating(one, other):
            assert not any(modes(one, other))
            with nn.utils.evaluating(one):
                one.train()
            assert not any(modes(one, other))
            if fails:
                raise KeyError
    except KeyError:
        pass
    assert modes(one, other) == before


def test_as_a_decorator_too():
    layer = nn.Dropout(0.5)
    assert nn.utils.evaluating(layer)(lambda: layer(tg.ones(3)).tolist())() == [1, 1, 1] and layer.training


PIXELS = np.random.default_rng(0).integers(0, 256, (5, 1, 4, 4)).astype(np.float32) / 255


def flow() -> models.ImageFlow:
    tg.manual_seed(0)
    return models.ImageRealNVP((1, 4, 4), hidden=2, blocks=1)


def test_bits_per_dim_leave_modes_generator_and_draws():
    model = flow()
    before, generator, state = mix(model), model.dequantize.generator, str(tg.get_rng_state())
    first = mean_bits_per_dim(model, PIXELS)
    assert mean_bits_per_dim(model, PIXELS) == first
    assert modes(model) == before and model.dequantize.generator is generator and str(tg.get_rng_state()) == state
    model.bits_per_dim = None  # type: ignore[assignment, method-assign]
    with pytest.raises(TypeError):
        mean_bits_per_dim(model, PIXELS)
    assert modes(model) == before and model.dequantize.generator is generator


def test_a_dcgan_decodes_without_a_trace():
    gan = models.DCGAN(3, (1, 8, 8), (2, 2))
    before = mix(gan)
    gan.sample(2)
    with pytest.raises(ValueError, match="Linear"):
        gan.decode(tg.zeros(2, 5))
    assert modes(gan) == before


def samples(x: np.ndarray) -> Any:
    return Namespace(x=x, image=x.shape[1:], levels=256)


def test_held_out_evaluation_changes_neither_draws_nor_modes():
    """Its loss draws latents; the training goes on as if it had not been asked for."""
    tg.manual_seed(0)
    model = models.BernoulliVAE(16, 4, 2)
    before, state = mix(model), str(tg.get_rng_state())
    loss = train.held_out(model, samples(PIXELS.reshape(5, 16)))
    assert np.isfinite(loss) and modes(model) == before and str(tg.get_rng_state()) == state
    model.loss = None  # type: ignore[assignment, method-assign]
    with pytest.raises(TypeError):
        train.held_out(model, samples(PIXELS.reshape(5, 16)))
    assert modes(model) == before and str(tg.get_rng_state()) == state


class Half(models.Autoencoder):
    """Reconstructs half of every pixel."""

    def __init__(self, size: int):
        nn.Module.__init__(self)
        self.weight, self.size = nn.Parameter(np.float32([0.5])), size

    def encode(self, x: tg.Tensor) -> tg.Tensor:
        return x

    def decode(self, z: tg.Tensor) -> tg.Tensor:
        return z * self.weight


def test_the_error_per_image_is_summed_over_its_pixels():
    """(x - x/2)² summed over 16 pixels, averaged over the images, in the row and in its baseline's unit."""
    (row,) = judge.reconstruction(Half(16), samples(PIXELS), samples(PIXELS))
    assert row["unit"] == "grey levels² per image"
    assert row["value"] == pytest.approx(np.square(PIXELS / 2).sum() / 5, rel=1e-6)


@pytest.mark.parametrize(
    "model", [Half(16), models.ConvAutoencoder(2, (1, 4, 4), ((2, 2, 2),))], ids=["vectors", "images"]
)
def test_a_loss_has_the_unit_that_is_written_beside_it(model):
    x = tg.tensor(PIXELS.reshape(5, 16) if isinstance(model, Half) else PIXELS)
    with tg.no_grad():
        per_image = (model(x)[1] - x).square().sum().item() / 5
        loss = model.loss(x).item()
    expected = {"grey levels² per image": per_image, "grey levels² per pixel": per_image / 16}[judge.loss_unit(model)]
    assert loss == pytest.approx(expected, rel=1e-5)


class Marks(nn.Module):
    """A discriminator that knows: white images are real."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(np.float32([4.0]))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return x.flatten(1).mean(1) * self.weight


@pytest.mark.parametrize("gan", [models.GAN(2, 4, (3,)), models.DCGAN(2, (1, 4, 4), (2, 2))], ids=["GAN", "DCGAN"])
def test_what_a_discriminator_says_of_real_images_is_not_what_it_says_of_forged_ones(gan):
    """White images are real, black ones forged: D(x) = σ(4), D(G(z)) = σ(-4), in the loss and in the log."""
    gan.discriminator, gan.generator = Marks(), Black(gan.generator)
    shape = (3, *getattr(gan, "image", (4,)))
    _, on_real, on_fake = gan.discriminator_loss(tg.ones(*shape))
    certain = 1 / (1 + np.exp(-4))
    assert on_real.item() == pytest.approx(certain, rel=1e-6) and on_fake.item() == pytest.approx(1 - certain, rel=1e-5)
    still = [tg.optim.SGD(part.parameters(), lr=0.0) for part in (gan.discriminator, gan.generator)]
    seen = gan.step(*still, tg.ones(*shape))
    assert seen["D(x)"] == pytest.approx(certain, rel=1e-6) and seen["D(G(z))"] == pytest.approx(1 - certain, rel=1e-5)


class Black(nn.Module):
    """A generator of black images, -1 as the networks see them."""

    def __init__(self, like: nn.Module):
        super().__init__()
        self.like = like

    def forward(self, z: tg.Tensor) -> tg.Tensor:
        return self.like(z) * 0 - 1


@pytest.mark.parametrize("make", [lambda: models.RealNVP(2, 4, 2), flow], ids=["RealNVP", "ImageRealNVP"])
def test_the_temperature_scales_the_noise(make):
    model = make().eval()
    for temperature in (1.0, 0.5, 0.0):
        tg.manual_seed(3)
        sampled = model.sample(4, temperature)
        tg.manual_seed(3)
        noise = model.latents(4)
        with tg.no_grad():
            assert sampled.equal(model.decode(temperature * noise))
    assert not model.sample(4).equal(sampled) and bool((sampled == sampled[0]).all())
