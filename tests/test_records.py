"""Measured numbers keep their rulers: whatever is measured again, with other data or seeds, nothing that was stored is lost."""

import dataclasses
import json
import math
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import data, nn, training
from tinygen.training import records
from tinygen.training.records import Record

names = st.text(max_size=8)
numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
some_records = st.builds(
    Record,
    metric=st.sampled_from(["test −ELBO", "test squared error"]),
    unit=st.just("nats"),
    value=st.one_of(numbers, st.just(math.inf)),
    model=names,
    checkpoint=st.sampled_from(["a", "b"]),
    data=names,
    data_checksum=st.sampled_from(["x", "y"]),
    images=st.integers(1, 9),
    baseline=st.one_of(st.none(), numbers),
    seed=st.one_of(st.none(), st.integers(0, 2)),
)


@given(
    batches=st.lists(st.lists(some_records, max_size=3), max_size=4), other=st.dictionaries(names, numbers, max_size=2)
)
def test_any_sequence_of_measurements_keeps_all_earlier_records(batches, other):
    folder = Path(tempfile.mkdtemp())
    other = {name: value for name, value in other.items() if name not in ("records", "folder")}
    before = []
    for batch in batches:
        records.add(folder, batch, **other)
        now = records.read(folder)
        assert now[: len(before)] == before, "nothing is replaced"
        assert set(now) == {*before, *batch}, "and everything new is there"
        assert len(now) == len(set(now)), "once"
        before = now
    stored = json.loads((folder / "metrics.json").read_text()) if batches else {}
    assert {name: stored[name] for name in other if batches} == {name: other[name] for name in other if batches}
    shutil.rmtree(folder)


def test_other_numbers_of_a_run_do_not_replace_its_records(tmp_path):
    run = training.Run("vae", tmp_path)
    model, x = nn.Linear(2, 1), np.zeros((3, 2), np.float32)
    record = run.record("error", "metres", 1.5, model=model, on=("points", x), baseline=2.0, baseline_is="the mean")
    run.save_metrics(curve=[1, 2])
    training.Run("vae", tmp_path).save_metrics(late=3)  # another process
    content = json.loads((tmp_path / "vae" / "metrics.json").read_text())
    assert content["curve"] == [1, 2] and content["late"] == 3
    assert records.read(tmp_path / "vae") == [record]
    assert record.images == 3 and record.data_checksum == data.checksum(x) and record.model == "Linear"


def test_a_checkpoint_is_known_by_its_weights():
    model, again = nn.Linear(2, 1), nn.Linear(2, 1)
    assert records.checksum_of(model) != records.checksum_of(again)
    again.load_state_dict(model.state_dict())
    assert records.checksum_of(model) == records.checksum_of(again)


def test_the_same_images_have_one_checksum_in_every_shape():
    x = np.random.default_rng(0).random((5, 1, 2, 2), dtype=np.float32)
    flat = records.measured_on("a/b/digits", tg.tensor(x.reshape(5, 4)))
    assert flat == records.measured_on("digits", x) and flat["data"] == "digits" and flat["images"] == 5
    assert records.measured_on("digits", x[:4])["data_checksum"] != flat["data_checksum"]


RECORD = Record("m", "u", 1.0, "M", "c", "d", "s", 3)
wrong_values = st.one_of(st.none(), st.lists(st.integers()), st.dictionaries(names, names), st.text(), st.just(10**400))


@given(name=st.sampled_from(list(records.KINDS)), value=wrong_values)
def test_a_record_from_a_file_is_whole_or_refused_in_a_line(name, value):
    stored = dataclasses.asdict(RECORD) | {name: value}
    try:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "metrics.json").write_text(json.dumps({"records": [stored]}))
            (record,) = records.read(folder)
    except ValueError as error:
        assert "metrics.json is damaged" in str(error) and "\n" not in str(error)
    else:
        for field, kind in (("metric", str), ("value", float), ("images", int), ("floor", float | None)):
            assert isinstance(getattr(record, field), kind)


@pytest.mark.parametrize(
    "text", ["[1]", "{", '{"records": {}}', '{"records": [1]}', '{"records": "x"}', "[" * 10**5, "1"]
)
def test_a_damaged_file_is_refused_and_left_as_it_is(text, tmp_path):
    (tmp_path / "metrics.json").write_text(text)
    for use in (lambda: records.read(tmp_path), lambda: records.add(tmp_path, [RECORD])):
        with pytest.raises(ValueError, match=r"metrics\.json is damaged"):
            use()
    assert (tmp_path / "metrics.json").read_text() == text
