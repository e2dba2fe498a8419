"""A model is made again from what it remembers, and only a model."""

import copy
import time
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygen as tg
from tinygen import checkpoint, models, nn

MADE = [
    lambda: models.Autoencoder((12, 7, 3), nn.Identity()),
    lambda: models.LinearAutoencoder(12, code=3),
    lambda: models.TiedAutoencoder(12, 3),
    lambda: models.ConvAutoencoder(2, (1, 6, 6), ((4, 3, 1),)),
    lambda: models.BernoulliVAE(12, latent=3, hidden=5),
    lambda: models.GaussianVAE(2, 5, 2),
    lambda: models.ConvVAE(2, (3, 6, 6), ((4, 3, 1),), (0.2, 0.5)),
    lambda: models.IWAE(12, 5, 3, 2, mean=tg.rand(12)),
    lambda: models.GAN(3, 12, (5, 6), saturating=True),
    lambda: models.DCGAN(3, (1, 8, 8), (4, 2)),
    lambda: models.RealNVP(3, 4, 2),
    lambda: models.NICE(3, 4, 2),
    lambda: models.ImageNICE((1, 2, 2), (5,)),
    lambda: models.ImageRealNVP((1, 4, 4), 1, 2),
    lambda: models.Glow((1, 4, 4), 1, 1, 2),
    lambda: models.Classifier((12, 5, 3)),
    lambda: models.ConvClassifier((8, 8), (4, 5), 6, 3),
]


@pytest.mark.parametrize("make", MADE)
def test_a_model_is_made_again_from_a_file(make, tmp_path):
    model = make()
    checkpoint.save(tmp_path / "x.safetensors", {"recipe": model.recipe, "state": model.state_dict()})
    stored = checkpoint.load(tmp_path / "x.safetensors")
    again = models.rebuild(stored["recipe"])
    assert type(again) is type(model)
    again.load_state_dict(stored["state"])  # every key there, every shape the same
    assert again.recipe is not None and again.recipe.keys() == model.recipe.keys()
    assert all((a == b).all() for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert copy.deepcopy(model).recipe.keys() == model.recipe.keys()


def test_every_model_is_here():
    made = {type(make()) for make in MADE}
    public = {getattr(models, name) for name in models.__all__}
    kinds = {kind for kind in public if isinstance(kind, type) and issubclass(kind, models.Model)}
    assert kinds - made == {models.Model, models.Flow, models.ImageFlow}, "which are made of transforms"


def test_what_no_file_can_hold_is_not_remembered():
    layer = nn.LeakyReLU(0.3)
    assert models.Autoencoder((4, 2), layer).recipe is None, "made with an argument"
    assert models.Autoencoder((4, 2), nn.Linear(2, 2)).recipe is None
    with pytest.raises(TypeError):
        models.BernoulliVAE(wrong=1)


@pytest.mark.parametrize(
    "recipe",
    [
        {},
        [],
        None,
        {"model": "os.system", "arguments": {}},
        {"model": "Result", "arguments": {}},
        {"model": "rebuild", "arguments": {}},
        {"model": "Model", "arguments": 3},
        {"model": "Autoencoder", "arguments": {"code_activation": {"nn": "functional"}}},
        {"model": "Autoencoder", "arguments": {"code_activation": {"nn": ["Linear"]}}},
        {"model": ["x"], "arguments": {}},
    ],
)
def test_only_models_are_made(recipe):
    with pytest.raises(ValueError, match="rebuild: "):
        models.rebuild(recipe)


@pytest.mark.parametrize("make", MADE)
def test_a_model_is_made_again_with_its_weights(make):
    model = make()
    again = models.rebuild(model.recipe, model.state_dict())
    assert all((a == b).all() for a, b in zip(model.parameters(), again.parameters(), strict=True))


def places(value, at=()):
    """Where in a recipe's arguments integers and lists are."""
    if isinstance(value, list):
        yield at
        for i, one in enumerate(value):
            yield from places(one, (*at, i))
    elif isinstance(value, int) and not isinstance(value, bool):
        yield at


def changed(value, at, new):
    if not at:
        return new(value)
    return [changed(one, at[1:], new) if i == at[0] else one for i, one in enumerate(value)]


@given(
    i=st.integers(0, len(MADE) - 1),
    which=st.integers(0),
    large=st.integers(10**4, 10**6) | st.sampled_from([2**31, 2**63, 10**30]),
    length=st.integers(10**3, 10**4),
)
@settings(max_examples=40)
def test_nothing_is_built_that_the_stored_weights_could_not_fill(i, which, large, length):
    """One number of a recipe, or the length of one list, is another: quickly refused, or of no consequence, and little memory."""
    model = MADE[i]()
    weights, recipe = model.state_dict(), model.recipe
    arguments = recipe["arguments"]
    found = [(key, at) for key, value in arguments.items() for at in places(value)]
    key, at = found[which % len(found)]
    new = lambda old: large if isinstance(old, int) else (old or [1]) * length
    worse = {"model": recipe["model"], "arguments": arguments | {key: changed(arguments[key], at, new)}}
    tracemalloc.start()
    begin = time.perf_counter()
    try:
        with suppress(ValueError, TypeError, RuntimeError, IndexError):
            again = models.rebuild(worse, weights)
            assert sum(p.numel() for p in again.parameters()) == sum(p.numel() for p in model.parameters())
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 100 * 2**20, f"{peak / 2**20:.0f} MB"
    assert time.perf_counter() - begin < 5


def test_what_is_too_much_is_said_in_a_line():
    model = models.BernoulliVAE(64, 8, 2)
    for hidden in (10**5, 6 * 10**6, 10**30):
        with pytest.raises(
            ValueError, match=r"rebuild: the recipe of a BernoulliVAE does not belong to these 8 arrays"
        ):
            models.rebuild({"model": "BernoulliVAE", "arguments": {"size": 64, "hidden": hidden}}, model.state_dict())
    with pytest.raises(ValueError, match="the recipe of a GAN does not belong to these 8 arrays"):
        models.rebuild({"model": "GAN", "arguments": {"latent": 2, "hidden": [1] * 10_000}}, model.state_dict())
    for weights in ({"a": 3}, {"a": "b"}, [], "x"):
        with pytest.raises(ValueError, match="rebuild: "):
            models.rebuild(model.recipe, weights)
