"""The judge of generated images: one classifier for each data set, whose features the Fréchet distance is measured in.

A measuring device must not depend on what it measures.  So the classifier is trained with a seed of its own, once for each
data set, and stored in the cache; its checksum goes with every number that it has measured.  On another machine the same
training ends, by rounding, in weights that differ, and so in another checksum: take the file along, and numbers compare.
"""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tinygen as tg
from tinygen import checkpoint, data, evaluate, harmless
from tinygen.data.sources import cache_folder
from tinygen.models.classifier import ConvClassifier, new_conv_classifier, train_conv_classifier

TRAINING = "conv classifier, training 1"
"""Part of the name of a stored classifier: another text when its layers or its training change."""
SEED = 0


def folder() -> Path:
    """Where classifiers are kept: judges in the cache of the downloads, or the folder TINYGEN_JUDGES."""
    return Path(os.environ.get("TINYGEN_JUDGES") or cache_folder() / "judges")


def classifier_of(train: data.ImageDataset, device: Any = "cpu") -> ConvClassifier:
    """The classifier of a data set with labels: the stored one, or trained now (`train_conv_classifier`, seed 0) and stored.

    A stored one that is damaged or does not fit is trained anew; so is, each time, one that cannot be stored, as stderr says.
    tinygen's random generators are left as they are.
    Raises ValueError without labels.
    """
    key = hashlib.sha256(f"{TRAINING}\n{data.checksum(train)}".encode()).hexdigest()
    file = folder() / f"{data_name(train)}_{key[:16]}.safetensors"
    state, dtype = tg.get_rng_state(), tg.get_default_dtype()
    tg.set_default_dtype(tg.float32)
    try:
        model = _stored(file, key, train)
        if model is None:
            model = train_conv_classifier(train, seed=SEED, device=str(device))
            _store(file, key, model)
    finally:
        tg.set_rng_state(state)
        tg.set_default_dtype(dtype)
    return model.to(device).eval()


def data_name(train: data.ImageDataset) -> str:
    """Its name, as a file may be called."""
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in Path(train.name).name)[:40]


def _stored(file: Path, key: str, train: data.ImageDataset) -> ConvClassifier | None:
    try:
        if not checkpoint.exists(file):
            return None
        stored = checkpoint.load(file)
        if stored["key"] != key:
            return None
        model = new_conv_classifier(train)
        model.load_state_dict(stored["model"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return None
    return model


def _store(file: Path, key: str, model: ConvClassifier) -> None:
    try:
        checkpoint.save(file, {"key": key, "model": model.state_dict()})
    except OSError as error:
        sys.stderr.write(f"the classifier is not kept, and will be trained anew: {harmless.message(error)}\n")


def checksum_of(classifier: ConvClassifier) -> str:
    """Of its weights."""
    return data.checksum(dict(classifier.state_dict()))


@dataclass(frozen=True)
class Judged:
    """What `judge` returns.

    distance: samples -> their Fréchet distance to test images.  unrelated: that of images of independent pixels.
    classifier: in whose features; checksum: of its weights; accuracy: on the test images, in percent.
    """

    distance: evaluate.FeatureDistance
    unrelated: float
    classifier: ConvClassifier
    checksum: str
    accuracy: float

    @property
    def notes(self) -> dict[str, Any]:
        return {
            "floor": "real training images in place of the samples",
            "baseline": "images of independent pixels",
            "test accuracy of the classifier, %": round(self.accuracy, 2),
            "checksum of the classifier": self.checksum[:16],
        }


def judge(train: data.ImageDataset, test: data.ImageDataset, samples: int = 10_000, device: Any = "cpu") -> Judged:
    """How samples are judged: by the classifier of the data set, against test images that are always the same.

    Nothing here depends on the seed of a run.  samples: how many, at most as many as there are images on either side.
    """
    classifier = classifier_of(train, device)
    distance = evaluate.FeatureDistance(classifier.features, train.flat, test.flat, samples)
    unrelated = distance(evaluate.independent_pixels(train.flat, distance.n, SEED))
    return Judged(distance, unrelated, classifier, checksum_of(classifier), classifier.accuracy(test))
