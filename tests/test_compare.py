"""Numbers stand in one column, and are averaged, only under one ruler."""

import csv
import dataclasses
import io
import json
import math
import statistics
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import checkpoint, models
from tinygen.cli import compare, judge, main, runs
from tinygen.cli.compare import Entry
from tinygen.training import Record, records
from tinygen.training.log import Log

MODEL = models.BernoulliVAE(4, 2, 1)


def record(value, **more):
    return Record(
        "test −ELBO", "nats per image", value, "M", "c", "digits", **{"data_checksum": "x", "images": 9} | more
    )


def entry(name, found=(), **arguments):
    return Entry(name, runs.Trained(Path(name), name, MODEL, arguments, 3, 1.0), list(found))


rulers = st.fixed_dictionaries(
    {
        "data_checksum": st.sampled_from("xy"),
        "seed": st.sampled_from([None, 0, 1]),
        "classifier": st.sampled_from(["", "k"]),
        "images": st.sampled_from([9, 10]),
        "tinygen": st.sampled_from(["0.1", "0.2"]),
    }
)
measured = st.lists(st.builds(lambda value, ruler: record(value, **ruler), st.floats(-9, 9), rulers), max_size=3)
entries = st.lists(
    st.builds(
        lambda found, seed, latent: entry("run", found, seed=seed, latent=latent),
        measured,
        st.integers(0, 3),
        st.integers(0, 1),
    ),
    min_size=1,
    max_size=6,
)


@given(runs=entries, each=st.booleans())
def test_never_are_numbers_of_different_rulers_in_one_column(runs, each):
    for one in runs:
        one.records = list({r.ruler: r for r in one.records}.values())
    found = [r for one in runs for r in one.records]
    columns = compare.columns_of(found)
    assert len({c.title for c in columns}) == len(columns) == len({r.ruler for r in found})
    rows = compare.rows_of(runs, columns, each)
    assert sum(row.n for row in rows) == len(runs), "every run is in one row"
    for i, column in enumerate(columns):
        shown = sorted(v for row in rows for v in row.values[i])
        assert shown == sorted(r.value for r in found if r.ruler == column.ruler)
    if len({c.example.metric for c in columns}) < len(columns):
        assert "they do not compare" in "\n".join(compare.notes(columns, False))
    headers, cells = compare.table_of(rows, columns)
    assert all(len(line) == len(headers) for line in cells)


@given(values=st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=5), latent=st.integers(0, 1))
def test_runs_that_differ_by_their_seed_are_mean_and_standard_deviation(values, latent):
    group = [entry(f"vae_s{i}", [record(v)], seed=i, latent=2) for i, v in enumerate(values)]
    other = entry("other", [record(1.0)], seed=0, latent=3)
    columns = compare.columns_of(r for one in group for r in one.records)
    first, second = compare.rows_of([*group, other], columns)
    assert first.n == len(values) and first.name == "vae_s*" and second.n == 1
    mean, spread = first.cell(0).split(" ± ")
    assert math.isclose(float(mean.replace(",", "")), statistics.fmean(values), rel_tol=1e-3, abs_tol=1e-9)
    assert math.isclose(float(spread), statistics.stdev(values), rel_tol=0.06, abs_tol=1e-9)  # two digits are shown
    assert [row.n for row in compare.rows_of([*group, other], columns, each=True)] == [1] * (len(values) + 1)


def test_the_same_seed_twice_is_not_a_group():
    copies = [entry("a", [record(1.0)], seed=0), entry("b", [record(2.0)], seed=0)]
    assert [row.n for row in compare.rows_of(copies, compare.columns_of(copies[0].records))] == [1, 1]


@given(values=st.lists(st.one_of(st.none(), st.floats(allow_nan=True)), min_size=1, max_size=6), higher=st.booleans())
def test_sorted_is_best_first_and_what_was_not_measured_last(values, higher):
    runs = [entry(str(i), [] if v is None else [record(v, higher_is_better=higher)]) for i, v in enumerate(values)]
    columns = compare.columns_of(r for one in runs for r in one.records)
    if columns:
        order = [
            row.values[0][0] if row.values[0] else None
            for row in compare.sorted_by("elbo", compare.rows_of(runs, columns), columns)
        ]
        numbers = [v for v in order if v is not None and math.isfinite(v)]
        assert numbers == sorted(numbers, reverse=higher)
        known = [v is not None and not math.isnan(v) and v != (-math.inf if higher else math.inf) for v in order]
        assert known == sorted(known, reverse=True)
    with pytest.raises(ValueError, match="there is no such metric; there are name"):
        compare.sorted_by("nothing", [], columns)


@given(name=st.text(max_size=12), value=st.floats())
def test_csv_holds_every_number_with_its_ruler(name, value):
    runs = [entry(name, [dataclasses.replace(record(value), data=name), record(1.0, seed=3)], latent=2, note=name)]
    text = compare.as_csv(runs)
    lines = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(lines) == 2 and [line["seed"] for line in lines] == ["", "3"]
    assert np.array_equal(float(lines[0]["value"]), value, equal_nan=True)
    assert lines[0]["setting: latent"] == "2" and lines[0]["data_checksum"] == "x"
    for cell in (lines[0]["run"], lines[0]["setting: note"]):
        assert cell.replace("\r\n", "\n").lstrip("'") == name.replace("\r\n", "\n").lstrip("'") or "\r" in name
        assert cell[:1] not in ("=", "+", "@"), "no spreadsheet takes it for a formula"


@given(names=st.lists(st.text(max_size=8), min_size=1, max_size=3))
def test_latex_is_balanced_and_has_no_bare_special(names):
    text = compare.as_latex(["run", "a"], [[name, "1 ± 2"] for name in names])
    body = text.split("\\hline")[2]
    bare = body.replace("\\\\", "").replace("\\&", "").replace("\\%", "").replace("\\#", "").replace("\\$", "")
    assert bare.count("&") == len(names) and bare.count("$") % 2 == 0 and "%" not in bare and "#" not in bare
    assert bare.replace("\\{", "").replace("\\}", "").count("{") == bare.replace("\\{", "").replace("\\}", "").count(
        "}"
    )


# --- folders ---------------------------------------------------------------------------------------------------------


def folder_of(path, seed=0, **arguments):
    path.mkdir(parents=True)
    model = models.BernoulliVAE(4, 2, 1)
    state = {"epoch": 2, "seconds": 1.0, "parts": {"model": model.state_dict()}, "recipes": {"model": model.recipe}}
    checkpoint.save(path / "run.safetensors", state)
    (path / "config.json").write_text(json.dumps({"name": "vae", "arguments": {"seed": seed} | arguments}))
    return path


def test_what_is_not_a_run_is_left_out_with_a_line(tmp_path, capsys):
    folder_of(tmp_path / "a")
    (tmp_path / "nothing").mkdir()
    words = ["compare", *map(str, sorted(tmp_path.glob("*"))), "--out", str(tmp_path / "compare.png")]
    (tmp_path / "a" / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    assert main(words) == 0
    words[-2:-2] = [str(tmp_path / "compare.png")]
    assert main(words) == 0, "the picture of the first call is not a run"
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3 and all(line.startswith("left out: ") for line in errors)
    assert any("compare.png is not a run" in line for line in errors)
    assert main(["compare", str(tmp_path / "nothing")]) == 2, "nothing is left"


lines = st.lists(
    st.one_of(
        st.text(alphabet=st.characters(blacklist_characters="\n", blacklist_categories=["Cs"]), max_size=9),
        st.recursive(
            st.one_of(st.none(), st.integers(), st.floats(), st.just(10**400), st.text(max_size=3)),
            lambda inner: (
                st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["loss", "step", "G loss"]), inner)
            ),
            max_leaves=6,
        ).map(json.dumps),
    ),
    max_size=5,
)


@given(lines=lines, good=st.integers(1, 3))
def test_lines_without_a_finite_loss_and_a_step_are_left_out(lines, good):
    kept = [json.dumps({"loss": 1.0, "step": i + 1, "note": "a\u2028b"}, ensure_ascii=False) for i in range(good)]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "metrics.jsonl").write_text("\n".join([*kept, *lines]), "utf-8")
        x, losses = compare.losses_of(dataclasses.replace(entry("a").run, folder=Path(folder)))
    assert len(x) == len(losses) >= good and losses[:good] == [1.0] * good
    assert all(math.isfinite(number) for number in x + losses) and min(x) > 0


def test_a_text_with_any_line_separator_is_one_line_of_the_log(tmp_path):
    log = Log(tmp_path / "metrics.jsonl")
    log.write({"loss": 1.0, "step": 1, "note": "a\u2028b\x85c\x0bd"})
    log.write({"loss": 2.0, "step": 2})
    assert compare.losses_of(dataclasses.replace(entry("a").run, folder=tmp_path)) == ([1.5, 3.0], [1.0, 2.0])


# --- measured by the command line ------------------------------------------------------------------------------------


def run_of_digits(path, seed):
    path.mkdir()
    tg.manual_seed(0)
    model = models.BernoulliVAE(64, 8, 2)
    state = {"epoch": 2, "seconds": 1.0, "parts": {"model": model.state_dict()}, "recipes": {"model": model.recipe}}
    checkpoint.save(path / "run.safetensors", state)
    arguments = {"seed": seed, "data": "digits", "dry_run": True}
    (path / "config.json").write_text(json.dumps({"name": "vae", "arguments": arguments}))
    return path


def test_one_model_has_one_score_whatever_the_seed_of_its_run(tmp_path):
    found = set()
    for seed in (0, 1, 7):
        folder = run_of_digits(tmp_path / str(seed), seed)
        assert main(["evaluate", str(folder), "--device", "cpu"]) == 0
        found.add(tuple((r.ruler, r.value, r.baseline, r.floor, r.checkpoint) for r in records.read(folder)))
    assert len(found) == 1 and len(next(iter(found))) == 4


def test_measuring_adds_and_replaces_nothing_and_is_not_done_twice(tmp_path, capsys, monkeypatch):
    folder = run_of_digits(tmp_path / "run", 3)
    np.savez(tmp_path / "other.npz", images=np.random.default_rng(0).random((60, 8, 8)).astype("f4"))
    calls = []
    real = judge.likelihood
    monkeypatch.setattr(judge, "likelihood", lambda *args: calls.append(1) or real(*args))
    before: list = []
    words = ["evaluate", str(folder), "--device", "cpu"]
    other = ["--data", str(tmp_path / "other.npz")]
    for more, measures in (([], 1), (["--seed", "2"], 1), (other, 1), ([], 0), (["--seed", "2"], 0), (["--again"], 1)):
        calls.clear()
        assert main([*words, *more]) == 0
        assert len(calls) == measures, more
        assert ("Measured on 20" in capsys.readouterr().out) == (not measures)
        now = records.read(folder)
        assert now[: len(before)] == before and (len(now) > len(before)) == (measures == 1 and more != ["--again"])
        before = now
    assert {r.data for r in before} == {"digits test", "other test"} and {r.seed for r in before} == {None, 0, 2}
    assert main(["compare", str(folder), "--out", str(tmp_path / "c.png")]) == 0
    out = capsys.readouterr().out
    assert "test −ELBO [C]" in out and "they do not compare" in out


def test_no_table_without_rows(tmp_path, capsys):
    np.savez(tmp_path / "images.npz", images=np.random.default_rng(0).random((60, 8, 8)).astype("f4"))
    words = f"--device cpu --out {tmp_path} --dry-run --batch-size 20 --data {tmp_path / 'images.npz'}"
    assert main(["train", "gan", *words.split(), "--hidden", "8", "--latent", "2"]) == 0
    out = capsys.readouterr().out
    assert "Without labels nothing can be said" in out and "metric" not in out and "─" not in out
