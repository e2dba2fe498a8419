"""All scores of all models, on a few hundred digits: the table is complete and its rows are in their order."""

import math

import numpy as np
import pytest

import tinygen as tg
from tinygen import data, evaluate, nn
from tinygen.models import comparison
from tinygen.models.autoencoder import Autoencoder
from tinygen.models.classifier import train_classifier

SMALL = {"GAN": {"latent": 8, "hidden": (32, 64)}, "AE": {"hidden": 64, "code": 6}, "VAE": {"hidden": 64, "latent": 6}}


@pytest.fixture(autouse=True)
def quick_classifier(monkeypatch):
    """The convolutional one takes seconds, and is tested elsewhere."""
    monkeypatch.setattr(comparison, "classifier_of", lambda train, device: train_classifier(train, 32, 20, 50))


def test_every_model_has_every_score_beside_real_and_trivial_images():
    train, test = data.digits()
    result = comparison.reproduce_samples((train.subset(slice(600)), test), epochs=4, samples=300, sizes=SMALL)
    rows = {row.name: row for row in result.rows()}
    assert len(rows) == 3 * len(evaluate.MEASURES) and "samples: VAE, classes" in rows
    for row in rows.values():
        assert math.isfinite(row.value) and row.published is None and row.seconds > 0
        assert row.settings["epochs"] == 4 and row.settings["samples"] == 300
        measure = next(m for m in evaluate.MEASURES.values() if m.title == row.metric)
        assert row.unit == measure.unit
        if row.unit == "%":
            assert 0 <= row.value <= 100
        if measure.name != "precision":  # which by itself is easily had
            assert row.floor >= row.baseline if measure.higher_is_better else row.floor <= row.baseline
    assert len({row.value for row in rows.values() if row.unit != "%"}) == 6  # each model has its own samples


def test_a_stored_training_is_not_repeated(tmp_path):
    train, test = data.digits()
    options = dict(epochs=1, samples=100, sizes=SMALL, keep=tmp_path)
    first, second = (comparison.reproduce_samples((train.subset(slice(300)), test), **options) for _ in range(2))
    assert [row.value for row in first.rows()] == [row.value for row in second.rows()]
    assert [row.seconds for row in first.rows()] == [row.seconds for row in second.rows()]


def test_the_gaussian_on_the_codes_has_their_mean_and_covariance():
    tg.manual_seed(0)
    model = Autoencoder((5, 3), code_activation=nn.Identity())
    model.decode = lambda h: h  # to see the codes
    x = tg.randn(4000, 5).numpy() @ np.random.default_rng(0).standard_normal((5, 5)).astype(np.float32)
    codes = model.encode(tg.tensor(x)).detach().numpy()
    drawn = comparison.gaussian_on_codes(model, x)(20_000).numpy()
    spread = codes.std(axis=0).max()
    np.testing.assert_allclose(drawn.mean(axis=0), codes.mean(axis=0), atol=5 * spread / np.sqrt(20_000))
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(codes.T), atol=5 * spread**2 * np.sqrt(2 / 20_000))


def test_a_dead_code_unit_is_no_obstacle():
    model = Autoencoder((5, 3))
    with tg.no_grad():
        for p in model.encoder.parameters():
            p.fill_(-1.0)  # with a ReLU: all codes are 0
    x = np.random.default_rng(0).random((20, 5)).astype(np.float32)
    drawn = comparison.gaussian_on_codes(model, x)(10).numpy()
    assert drawn == pytest.approx(np.broadcast_to(drawn[0], drawn.shape))
