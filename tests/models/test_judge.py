"""What measures does not depend on what is measured: one classifier for each data set, whatever the seed of the run."""

import warnings

import numpy as np
import pytest

import tinygen as tg
from tinygen import checkpoint, data
from tinygen.models import judge as judges
from tinygen.models.classifier import ConvClassifier, new_conv_classifier


def spots(n=40, seed=0, side=8):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    images = rng.random((n, side, side), dtype=np.float32) * (0.2 + 0.8 * labels[:, None, None].astype(np.float32))
    return data.ImageDataset("some/where/spots", images, labels)


@pytest.fixture
def trainings(monkeypatch, tmp_path):
    """How often a classifier was trained, in a folder of its own; a quick one."""
    count = []
    real = judges.train_conv_classifier

    def train(*args, **named):
        count.append(named)
        return real(*args, **named, epochs=2)

    monkeypatch.setattr(judges, "train_conv_classifier", train)
    monkeypatch.setenv("TINYGEN_JUDGES", str(tmp_path / "judges"))
    return count


def test_it_is_trained_once_and_the_same_whatever_the_seed(trainings):
    checksums = set()
    for seed in (0, 1, 2):
        tg.manual_seed(seed)
        before = tg.get_rng_state()
        checksums.add(judges.checksum_of(judges.classifier_of(spots())))
        np.testing.assert_equal(tg.get_rng_state(), before)
    assert len(checksums) == 1 and len(trainings) == 1
    assert judges.checksum_of(judges.classifier_of(spots(seed=1))) not in checksums and len(trainings) == 2
    assert {file.name[:6] for file in judges.folder().iterdir()} == {"spots_"}


def test_where_it_cannot_be_kept_it_is_trained_anew_and_is_the_same(trainings, monkeypatch, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TINYGEN_JUDGES", str(tmp_path / "file" / "judges"))
    checksums = {judges.checksum_of(judges.classifier_of(spots())) for _ in range(2)}
    assert len(trainings) == 2 and len(checksums) == 1
    assert "not kept" in capsys.readouterr().err


def test_a_folder_that_can_only_be_read_is_enough(trainings, monkeypatch):
    classifier = judges.classifier_of(spots())
    monkeypatch.setattr(checkpoint, "save", lambda *_: pytest.fail("nothing is to be written"))
    assert judges.checksum_of(judges.classifier_of(spots())) == judges.checksum_of(classifier)


@pytest.mark.parametrize("damage", ["cut", "other", "shape"])
def test_a_stored_one_that_is_none_is_trained_anew(damage, trainings):
    checksum = judges.checksum_of(judges.classifier_of(spots()))
    (file,) = judges.folder().iterdir()
    stored = checkpoint.load(file)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-9])
    else:
        key = "another" if damage == "other" else stored["key"]
        model = new_conv_classifier(spots(side=12)) if damage == "shape" else new_conv_classifier(spots())
        checkpoint.save(file, {"key": key, "model": model.state_dict()})
        file.with_name(file.name + ".previous").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert judges.checksum_of(judges.classifier_of(spots())) == checksum
    assert len(trainings) == 2
    assert judges.checksum_of(judges.classifier_of(spots())) == checksum and len(trainings) == 2


def test_the_default_dtype_has_no_part_in_it(trainings, monkeypatch, tmp_path):
    checksum = judges.checksum_of(judges.classifier_of(spots()))
    monkeypatch.setenv("TINYGEN_JUDGES", str(tmp_path / "others"))
    tg.set_default_dtype(tg.float64)
    assert judges.checksum_of(judges.classifier_of(spots())) == checksum and len(trainings) == 2
    assert tg.get_default_dtype() == tg.float64


def test_a_score_has_its_ruler(trainings):
    judged = judges.judge(spots(), spots(seed=1), 30)
    assert judged.distance.n == 30 and judged.checksum == judges.checksum_of(judged.classifier)
    assert 0 <= judged.distance.floor < judged.unrelated
    tg.manual_seed(5)
    again = judges.judge(spots(), spots(seed=1), 30)
    assert (again.distance.floor, again.unrelated) == (judged.distance.floor, judged.unrelated)
    assert judged.notes["checksum of the classifier"] == judged.checksum[:16]


@pytest.mark.parametrize(
    ("size", "pool"), [((8, 8), 1), ((40, 40), 1), ((64, 64), 2), ((3, 128, 96), 4), ((4, 300), 1), ((40, 300), 9)]
)
def test_large_images_cost_the_judge_no_more_than_small_ones(size, pool):
    images = np.zeros((3, *size), np.float32)
    model = new_conv_classifier(data.ImageDataset("x", images, np.arange(3)))
    assert model.recipe["arguments"]["pool"] == pool
    assert model(tg.tensor(images.reshape(3, -1))).shape == (3, 3)
    with pytest.raises(ValueError, match="at least 8×8 pixels"):
        ConvClassifier((7, 9), pool=2)
