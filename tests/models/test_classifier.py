"""The classifiers: images in any shape, features that the last layer turns into logits, errors, and learning."""

import numpy as np
import pytest

import tinygen as tg
from tinygen import data, evaluate
from tinygen.models import Classifier, ConvClassifier
from tinygen.models.classifier import train_classifier, train_conv_classifier

MAKERS = (lambda: Classifier((48, 5, 3)), lambda: ConvClassifier((6, 8), (2, 3), hidden=5, classes=3))


@pytest.mark.parametrize("make", MAKERS)
def test_features_are_what_the_last_layer_sees(make):
    tg.manual_seed(0)
    model = make()
    x = tg.rand(4, 48)
    features = model.features(x)
    assert features.shape == (4, 5) and not features.requires_grad and bool((features >= 0).all())
    np.testing.assert_allclose(model.network[-1](features).detach().numpy(), model(x).detach().numpy(), rtol=1e-6)
    assert model.predict(x).equal(model(x).argmax(1))


@pytest.mark.parametrize("make", MAKERS)
def test_images_may_come_in_any_shape_and_as_arrays(make):
    tg.manual_seed(0)
    model = make()
    x = tg.rand(4, 48)
    for images in (x.reshape(4, 1, 6, 8), x.reshape(4, 6, 8), x.numpy(), x.reshape(4, 1, 6, 8).numpy()):
        assert model.features(images).equal(model.features(x)) and model.predict(images).equal(model.predict(x))
    with pytest.raises(ValueError, match=r"images of 48 pixels are expected, .*, got \(4, 47\)"):
        model(tg.rand(4, 47))


def test_sizes_that_two_convolutions_can_halve():
    assert ConvClassifier((7, 4), (2, 3), 5)(tg.rand(2, 28)).shape == (2, 10)
    with pytest.raises(ValueError, match=r"at least 4×4 pixels are expected, got size=\(3, 8\)"):
        ConvClassifier((3, 8))


@pytest.mark.parametrize("fit", [train_classifier, train_conv_classifier])
def test_it_learns_digits_and_its_features_tell_real_images_from_noise(fit):
    train, test = data.digits()
    model = fit(train, hidden=32, epochs=12, batch_size=50, lr=4e-3)
    assert model.accuracy(test) > 90
    distance = evaluate.FeatureDistance(model.features, train.flat, test.flat)
    noise = evaluate.independent_pixels(train.flat, distance.n, generator=0)
    assert distance(test.flat) < 1e-6 < distance.floor < 0.3 * distance(noise)


def test_the_same_seed_gives_the_same_classifier():
    train, test = data.digits()
    few = train.subset(slice(200))
    a, b, c = (train_conv_classifier(few, 8, epochs=1, seed=seed).features(test.flat).numpy() for seed in (0, 0, 1))
    assert (a == b).all() and (a != c).any()


def test_a_data_set_without_labels_is_refused():
    train, _ = data.digits()
    with pytest.raises(ValueError, match="a data set with labels is expected, and digits has none"):
        train_conv_classifier(data.ImageDataset("digits", train.images))
