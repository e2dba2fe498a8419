"""All scores at once are each score by itself, and real images and trivial ones stand where they belong."""

import numpy as np
import pytest

from tinygen import data, evaluate


def features(x):
    return np.asarray(x)[:, ::4]


def predict(x):
    return np.asarray(x)[:, :8].argmax(axis=1) % 4


def test_sample_metrics_are_the_single_ones():
    r = np.random.default_rng(0)
    images = (r.random((900, 1)) * r.random((900, 16))).astype(np.float32)
    train, valid, test, samples = images[:400], images[400:500], images[500:700], images[700:]
    metrics = evaluate.SampleMetrics(features, predict, train, valid, test, classes=4)
    assert metrics.n == 200
    found = metrics(samples)
    pr = evaluate.precision_recall(features(test), features(samples))
    assert found == evaluate.SampleScores(
        frechet=evaluate.frechet_distance(features(samples), features(test)),
        precision=100 * pr.precision,
        recall=100 * pr.recall,
        parzen=evaluate.parzen(samples, test, valid).log_likelihood,
        rarest_class=100 * evaluate.class_shares(samples, predict, 4).min(),
    )
    assert list(vars(found)) == list(evaluate.MEASURES)
    with pytest.raises(ValueError, match=r"SampleMetrics: 200 samples are expected, .*, got 199"):
        metrics(samples[:199])
    with pytest.raises(ValueError, match=r"valid is a part of train"):
        evaluate.SampleMetrics(features, predict, images, valid, test)


def test_real_images_beat_independent_pixels_in_every_score_that_sees_dependence():
    pytest.importorskip("sklearn")
    train, test = data.digits()
    means = np.stack([train.flat[train.labels == c].mean(axis=0) for c in range(10)])

    def nearest_mean(x):
        return np.square(np.asarray(x)[:, None] - means).sum(axis=2).argmin(axis=1)

    metrics = evaluate.SampleMetrics(
        lambda x: np.asarray(x), nearest_mean, train.flat[:-200], train.flat[-200:], test.flat
    )
    assert metrics.n == 360
    for name, measure in evaluate.MEASURES.items():
        real, trivial = getattr(metrics.real, name), getattr(metrics.trivial, name)
        assert (real > trivial) == measure.higher_is_better and real != trivial, name
    again = evaluate.SampleMetrics(
        lambda x: np.asarray(x), nearest_mean, train.flat[:-200], train.flat[-200:], test.flat
    )
    assert again.real == metrics.real and again.trivial == metrics.trivial  # the seed is fixed
