"""Models fit their data: layers for every size, log-variances that stay finite, an error where values cannot be reached."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import tinygen as tg
from tinygen import checkpoint, data, models, nn, optim
from tinygen.cli.kinds import KINDS, options, words
from tinygen.cli.main import parser
from tinygen.models import fitting, vae
from tinygen.models.conv_autoencoder import LAYERS, layers_for, sizes
from tinygen.testing import assert_gradients

CODE = 3
CONVOLUTIONAL = {
    "autoencoder": lambda image: models.ConvAutoencoder(CODE, image),
    "vae": lambda image: models.ConvVAE(CODE, image),
    "dcgan": lambda image: models.DCGAN(CODE, image),
}
images = st.tuples(st.sampled_from([1, 3]), st.integers(1, 70), st.integers(1, 70))
every = pytest.mark.parametrize("make", CONVOLUTIONAL.values(), ids=CONVOLUTIONAL)
NAMED = [(c, side, side) for c in (1, 3) for side in (8, 16, 28, 32, 64, 96, 128)] + [(1, 127, 99), (3, 1, 200)]


@every
@settings(max_examples=15, deadline=None)
@given(image=images)
@example((3, 128, 128))
@example((1, 97, 33))
def test_images_of_any_size_go_in_and_come_back(make, image):
    tg.manual_seed(0)
    model = make(image)
    x = tg.rand(2, *image)
    if isinstance(model, models.DCGAN):
        out = model.sample(2)
        loss = model.discriminator_loss(x)[0] + model.generator_loss(2)
    else:
        out, loss = model.reconstruct(x), model.loss(x)
    assert out.shape == x.shape
    loss.backward()
    parameters = dict(model.named_parameters())
    if isinstance(
        model, models.DCGAN
    ):  # the loss of one player is a constant to the other: D's from the first term only
        parameters = {name: p for name, p in parameters.items() if p.grad is not None}
        assert len(parameters) == len(list(model.parameters()))
    assert all(p.grad.shape == p.shape and np.isfinite(p.grad.numpy()).all() for p in parameters.values())


@every
@settings(max_examples=30, deadline=None)
@given(image=st.tuples(st.sampled_from([1, 3]), st.integers(1, 300), st.integers(1, 300)))
def test_no_layer_grows_with_the_image(make, image):
    per_number = 2 if make is CONVOLUTIONAL["vae"] else 1  # a mean and a variance
    limit = max(128 * 128 * 16, 128 * 49 * CODE * per_number)
    assert max(p.numel() for p in make(image).parameters()) <= limit


@pytest.mark.parametrize("image", NAMED)
@every
def test_a_file_makes_the_same_layers_again(make, image, tmp_path):
    model = make(image)
    checkpoint.save(tmp_path / "x.safetensors", {"recipe": model.recipe})
    recipe = checkpoint.load(tmp_path / "x.safetensors")["recipe"]
    again = models.rebuild(recipe)
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}
    assert again.layout == model.layout and model.layout in repr(model)
    chosen = recipe["arguments"]["channels" if "channels" in recipe["arguments"] else "layers"]
    assert chosen is not None, "what another version would choose otherwise"


@settings(deadline=None)
@given(image=st.tuples(st.integers(1, 4), st.integers(1, 1000), st.integers(1, 1000)))
def test_sides_end_between_4_and_7_where_they_are_longer(image):
    layers = layers_for(image)
    for axis, side in enumerate(image[1:]):
        last = sizes(side, layers, axis)[-1]
        longest = max(image[1:])
        assert last <= 7
        if side == longest and side >= 4:
            assert last >= 4


def test_the_decks_layers_stay_where_the_published_numbers_were_measured():
    assert layers_for((1, 28, 28)) == LAYERS == layers_for((3, 28, 28))
    assert models.dcgan.channels_for((1, 28, 28)) == (128, 64) == models.dcgan.channels_for((1, 8, 8))
    assert models.ConvAutoencoder(8).layout == "1×28×28 → 24×24 → 20×20 → 9×9 → 4×4 → 8 numbers"
    assert models.DCGAN().layout == "100 numbers → 7×7 → 14×14 → 1×28×28"
    assert models.ConvVAE(5, (3, 64, 47)).layout == "3×64×47 → 32×24 → 16×12 → 8×6 → 4×3 → 4×3 → 5 numbers"


def test_no_channels_are_refused():
    with pytest.raises(ValueError, match=r"DCGAN: the channels of at least one map .* channels=None chooses"):
        models.DCGAN(channels=())


# --- log-variances ------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=20))
def test_log_variances_of_a_usual_size_are_left_alone_bit_for_bit(values):
    x = tg.tensor(values, dtype=tg.float32, requires_grad=True)
    y = fitting.bounded(x)
    g = tg.randn(len(values))
    y.backward(g)
    assert y.detach().equal(x.detach()) and x.grad.equal(g)


@given(st.lists(st.floats(allow_nan=False, width=32), min_size=2, max_size=20))
def test_all_others_are_bounded_and_keep_their_order(values):
    values = sorted(values)
    y = fitting.bounded(tg.tensor(values, dtype=tg.float32)).numpy()
    assert np.abs(y[np.isfinite(values)]).max(initial=0) <= 14
    assert (np.diff(y[np.isfinite(values)]) >= 0).all()


def test_gradients_of_the_bound():
    assert_gradients(fitting.bounded, tg.tensor([-30.0, -12.0, -3.0, 0.0, 9.0, 11.0, 14.0, 25.0]))


SCALES = st.sampled_from([1e-3, 1.0, 1e2, 1e4])


@settings(max_examples=40, deadline=None)
@given(half=st.sampled_from(["encoder", "decoder"]), sign=st.sampled_from([-1, 1]), scale=SCALES, outlier=SCALES)
def test_a_gaussian_vae_has_a_finite_loss_whatever_variances_it_arrives_at(half, sign, scale, outlier):
    """Without the bound exp(±log σ²) overflows from 88 on, and the loss is inf, its gradient NaN."""
    tg.manual_seed(0)
    model = models.GaussianVAE(3, 5, 2)
    with tg.no_grad():
        bias = getattr(model, half)[-1].bias
        bias[len(bias) // 2 :] = sign * scale
    x = tg.randn(4, 3)
    x[0, 0] = outlier
    loss = model.loss(x)
    loss.backward()
    assert math.isfinite(loss.item())
    assert all(np.isfinite(p.grad.numpy()).all() for p in model.parameters())


def test_columns_with_a_value_of_48_deviations_are_learned():
    """A plain loop over standardised columns with a heavy tail, which ended in NaN after some dozen steps."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2400, 8)) @ rng.standard_normal((8, 8))
    x[0, 3] = 500 * x[:, 3].std()
    x = ((x - x.mean(0)) / x.std(0)).astype(np.float32)
    assert x.max() > 47
    tg.manual_seed(0)
    model = models.GaussianVAE(8)
    optimizer = optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(4):
        for batch in data.DataLoader(x, 50, shuffle=True, generator=0):
            optimizer.zero_grad()
            model.loss(batch).backward()
            optimizer.step()
    with tg.no_grad():
        loss = model.loss(tg.tensor(x)).item()
    independent = 8 * 0.5 * math.log(2 * math.pi * math.e)  # a Gaussian for each column of variance 1
    assert loss < independent


def test_two_moons_are_learned_as_without_the_bound(monkeypatch):
    """The published row: no log-variance comes near the bound, so not one bit of the training differs."""

    def trained():
        tg.manual_seed(0)
        model = models.GaussianVAE()
        optimizer = optim.Adam(model.parameters(), lr=5e-3)
        x = data.two_moons(1000, 0.05, generator=0)
        losses = []
        for _ in range(4):
            for batch in data.DataLoader(x / x.std(), 50, shuffle=True, generator=0):
                optimizer.zero_grad()
                loss = model.loss(batch)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
        return losses

    with_it = trained()
    monkeypatch.setattr(vae, "bounded", lambda logvar: logvar)
    assert with_it == trained()


# --- values -------------------------------------------------------------------------------------------------------------

REACH = {
    "Autoencoder": lambda: models.Autoencoder((6, 4, 2)),
    "TiedAutoencoder": lambda: models.TiedAutoencoder(6, 2),
    "Autoencoder, tanh": lambda: models.Autoencoder((6, 4, 2), output_activation=nn.Tanh()),
    "BernoulliVAE": lambda: models.BernoulliVAE(6, 4, 2),
    "IWAE": lambda: models.IWAE(6, 4, 2),
    "GAN": lambda: models.GAN(2, 6, (4,)),
    "DCGAN": lambda: models.DCGAN(2, (1, 2, 3), (2,)),
}


def loss_of(model, x):
    if isinstance(model, models.GAN):
        return model.discriminator_loss(x.reshape(-1, *model.image) if hasattr(model, "image") else x)[0]
    return model.loss(x)


@pytest.mark.parametrize("name", REACH)
@settings(max_examples=15, deadline=None)
@given(by=st.sampled_from([0.3, 3.0, 255.0]), sign=st.sampled_from([-1, 1]), seed=st.integers(0, 99))
def test_values_that_a_model_cannot_reach_are_named_with_the_way_out(name, by, sign, seed):
    rng = np.random.default_rng(seed)
    x = rng.random((5, 6)).astype(np.float32)
    assert math.isfinite(loss_of(REACH[name](), tg.tensor(x)).item())
    x[rng.integers(5), rng.integers(6)] = sign * by + (sign > 0)
    model = REACH[name]()
    if name == "Autoencoder, tanh" and sign * by == -0.3:
        return  # within its range
    with pytest.raises(
        ValueError, match=rf"{type(model).__name__}.*values in \[-?[01], 1\] are expected.*\n.*scale the"
    ):
        loss_of(model, tg.tensor(x))


def test_nan_is_left_to_those_who_look_for_it():
    """The loss becomes NaN, of which `Keeper.check` names the origin."""
    x = tg.rand(3, 6)
    x[0, 0] = math.nan
    assert all(math.isnan(loss_of(make(), x).item()) for name, make in REACH.items())


@pytest.mark.parametrize(
    "make",
    [
        lambda out: models.Autoencoder((6, 4, 2), output_activation=out),
        lambda out: models.TiedAutoencoder(6, 2, output_activation=out),
    ],
)
def test_an_autoencoder_of_real_numbers_says_them(make):
    """With a code as wide as needed its error falls below the variance; a sigmoid's cannot."""
    rng = np.random.default_rng(0)
    x = tg.tensor((5 * rng.standard_normal((200, 2)) @ rng.standard_normal((2, 6))).astype(np.float32))
    tg.manual_seed(1)
    model = make(nn.Identity())
    assert type(models.rebuild(model.recipe)) is type(model) and models.rebuild(model.recipe).output_range[0] < 0
    optimizer = optim.Adam(model.parameters(), lr=3e-2)
    for _ in range(200):
        optimizer.zero_grad()
        loss = model.loss(x)
        loss.backward()
        optimizer.step()
    variance = ((x - x.mean(0)) ** 2).sum(1).mean().item()
    assert loss.item() < 0.7 * variance


def test_denoising_may_start_from_anything():
    model = models.Autoencoder((6, 4, 2))
    assert math.isfinite(model.loss(10 * tg.randn(3, 6), tg.rand(3, 6)).item())
    with pytest.raises(ValueError, match="output_activation"):
        model.loss(tg.rand(3, 6), 10 * tg.randn(3, 6))


# --- the command line ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_every_option_says_what_it_is(name, capsys):
    kind = KINDS[name]
    assert words(kind).keys() == options(kind).keys()
    assert all(len(sentence.split()) > 2 for sentence in words(kind).values())
    with pytest.raises(SystemExit):
        parser().parse_args(["train", name, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for sentence in words(kind).values():
        assert "".join(sentence.split()) in text.replace(" ", "")  # argparse breaks lines
