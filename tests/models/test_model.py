"""A model is made again from what it remembers, and only a model."""

import copy

import pytest

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
