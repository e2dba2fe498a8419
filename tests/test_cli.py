"""The command line, as a learner uses it: on own images, in a folder, with mistakes."""

import json
import re
import subprocess
import sys
from argparse import Namespace

import numpy as np
import pytest

from tests.processes import SECONDS, program
from tinygen import models, training
from tinygen.cli import examples, main, runs, show
from tinygen.cli.kinds import KINDS, Samples

IMAGES = [name for name, kind in KINDS.items() if not kind.points]
POINTS = [name for name, kind in KINDS.items() if kind.points]
SMALL = {
    "autoencoder": "--hidden 16",
    "vae": "--hidden 16 --latent 3",
    "conv_vae": "--latent 4",
    "iwae": "--hidden 16 --latent 3 --k 2",
    "gan": "--hidden 16 16 --latent 4",
    "nice": "--hidden 16",
    "image_realnvp": "--scales 1 --hidden 4",
    "glow": "--scales 1 --steps 1 --hidden 4",
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of 60 small pictures in colour, neither square nor labelled."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for i in range(60):
        colours = rng.integers(0, 256, 3) * np.linspace(0, 1, 12 * 8).reshape(12, 8, 1)
        Image.fromarray(colours.astype(np.uint8)).save(folder / f"{i:02d}.png")
    return folder


def run(*words):
    return main([str(word) for word in " ".join(map(str, words)).split()])


@pytest.mark.parametrize("name", IMAGES)
def test_every_model_learns_own_pictures(name, pictures, tmp_path, capsys):
    """Trained, drawn from, measured and compared, whatever the size and the number of channels."""
    here = f"--data {pictures} --device cpu --out {tmp_path} --dry-run"
    assert run("train", name, here, "--batch-size 20", SMALL.get(name, "")) == 0
    folder = tmp_path / f"{name}_dry_run"
    assert list(folder.glob("epochs/*.png")), "a picture per epoch"
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 2 * (
        2 if name == "gan" or name == "dcgan" else 3
    )
    for command, picture in (("sample", "sample.png"), ("interpolate -n 3 --steps 4", "interpolate.png")):
        command, *more = command.split(" ", 1)
        where = "" if command == "sample" and "autoencoder" not in name else f"--data {pictures}"
        assert run(command, folder, *more, where, "--device cpu") == 0
        assert (folder / picture).stat().st_size > 500
    assert run("evaluate", folder, f"--data {pictures} --device cpu") == 0
    assert run("compare", folder, folder, "--out", tmp_path / "compare.png") == 0
    assert (tmp_path / "compare.png").stat().st_size > 1000
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("name", POINTS)
def test_every_model_of_points(name, tmp_path, capsys):
    np.save(tmp_path / "points.npy", np.random.default_rng(0).standard_normal((100, 2)))
    for data in ("", f"--data {tmp_path / 'points.npy'}"):
        assert run("train", name, data, f"--device cpu --out {tmp_path} --dry-run") == 0
        out = capsys.readouterr().out
        assert "nats per point" in out and ("1.008" in out) == (data == ""), "the moons' entropy is known"
    folder = tmp_path / f"{name}_dry_run"
    assert run("sample", folder, data, "--device cpu") == 0
    assert run("interpolate", folder, "--device cpu") == 2
    assert "points in the plane" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["npy", "npz", "csv"])
def test_points_for_the_test_are_not_among_those_that_are_learned(tmp_path, suffix):
    """The two parts of a file are disjoint and together all of it, whatever the seed; those of the moons are different draws."""
    file = tmp_path / f"x.{suffix}"
    points = np.arange(300, dtype=np.float32).reshape(100, 3)
    if suffix == "csv":
        np.savetxt(file, points, delimiter=",")
    else:
        np.save(file, points) if suffix == "npy" else np.savez(file, points=points)
    parts = []
    for seed in (0, 1):
        args = Namespace(data=str(file), seed=seed, dry_run=False, noise=0.1)
        train, test, _ = runs.samples(args, points=True)
        rows = [{*map(tuple, part.x.tolist())} for part in (train, test)]
        assert not rows[0] & rows[1] and rows[0] | rows[1] == {*map(tuple, points.tolist())}
        parts.append(rows)
    assert parts[0] == parts[1], "what is measured on does not change with the seed"
    train, test, _ = runs.samples(Namespace(data="moons", seed=0, dry_run=False, noise=0.1), points=True)
    assert not {*map(tuple, train.x.tolist())} & {*map(tuple, test.x.tolist())}


def test_points_of_more_columns_are_learned_and_drawn(tmp_path, capsys):
    rng = np.random.default_rng(0)
    np.savetxt(tmp_path / "t.csv", rng.standard_normal((60, 5)), delimiter=",", header="a,b,c,d,e", comments="")
    assert (
        run(
            "train realnvp --hidden 4 --depth 2", f"--data {tmp_path / 't.csv'} --device cpu --out {tmp_path} --dry-run"
        )
        == 0
    )
    assert run("evaluate", tmp_path / "realnvp_dry_run", f"--data {tmp_path / 't.csv'}", "--device cpu") == 0
    trained = runs.read(tmp_path / "realnvp_dry_run")
    show.sample(trained, 9, tmp_path / "x.png", Samples(rng.standard_normal((20, 5)).astype(np.float32)))
    assert (tmp_path / "x.png").stat().st_size > 1000
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            "realnvp --data digits",
            "digits are images, and this model learns points, .*images are learned by .*image_realnvp",
        ),
        ("realnvp --data {folder}", "are images, and this model learns points"),
        ("vae --data two_moons", "two_moons are points, .* points are learned by realnvp, gaussian_vae"),
        ("vae --data {folder}/t.csv", "are points, .* points are learned by realnvp, gaussian_vae"),
        ("realnvp --data {folder}/nothing.csv", "there is no such file|No such file"),
        ("vae --data digits --crop", "say which: .*--size 32"),
        ("vae --data digits --max-bytes 1000", "refused above max_bytes=1000"),
    ],
)
def test_the_wrong_data_say_which_model_takes_them(words, says, tmp_path, capsys):
    assert run("train", words.format(folder=tmp_path), f"--device cpu --out {tmp_path} --dry-run") == 2
    assert re.search(says, capsys.readouterr().err)


def test_labels_bring_a_distance_of_samples_and_numbers_are_stored(tmp_path, capsys):
    words = f"--data digits --device cpu --out {tmp_path} --dry-run --hidden 16"
    assert run("train vae", words) == 0
    assert run("train autoencoder --name narrow --code 4", words) == 0
    rows = json.loads((tmp_path / "vae_dry_run" / "metrics.json").read_text())["records"]
    assert [row["metric"] for row in rows] == [
        "test −ELBO",
        "test −L₅₀, a closer bound",
        "test squared error",
        "Fréchet distance of samples",
    ]
    for row in rows:
        assert row["floor"] <= row["value"] and row["unit"] and row["baseline_is"]
    capsys.readouterr()
    assert run("compare", tmp_path / "vae_dry_run", tmp_path / "narrow_dry_run", "--out", tmp_path / "c.png") == 0
    out = capsys.readouterr().out
    assert "PCA, 4 numbers" in out, "both runs' numbers"
    (line,) = (line for line in out.splitlines() if line.startswith("model  "))
    assert line.split() == ["model", "BernoulliVAE", "Autoencoder"], "what they differ in"


def test_images_that_an_example_has_enlarged(tmp_path, capsys):
    """The convolutional models' examples double the pixels of the 8×8 digits."""
    args = training.parser(images=True).parse_args(["--data", "digits", "--dry-run", "--out", str(tmp_path)])
    model = models.ConvAutoencoder(3, (1, 16, 16), ((4, 4, 2),))
    keeper = training.start("enlarged", args).keeper(model=model)
    for _ in keeper.epochs(1):
        for _ in keeper.batches(range(2)):
            pass
    folder = tmp_path / "enlarged_dry_run"
    assert run("sample", folder, "-n 4 --device cpu") == 0 and run("evaluate", folder, "--device cpu") == 0
    np.savez(tmp_path / "odd.npz", images=np.zeros((30, 9, 9), np.uint8))
    assert run("evaluate", folder, "--data", tmp_path / "odd.npz", "--device cpu") == 2
    assert "has learned images of shape (1, 16, 16)" in capsys.readouterr().err


def test_without_resume_the_earlier_run_is_set_aside_and_with_it_kept(tmp_path, capsys):
    words = f"train realnvp --device cpu --out {tmp_path} --dry-run --hidden 4"
    folder = tmp_path / "realnvp_dry_run"
    assert run(words) == 0
    before = (folder / "run.safetensors").read_bytes()
    assert run(words, "--resume") == 0
    assert (folder / "run.safetensors").read_bytes() == before and not (tmp_path / "realnvp_dry_run.previous").exists()
    assert run(words, "--seed 1") == 0
    assert (tmp_path / "realnvp_dry_run.previous" / "run.safetensors").read_bytes() == before
    assert "the earlier run is now in" in capsys.readouterr().err
    assert run(words, "--resume") == 2
    assert "seed = 1 then, 0 now" in capsys.readouterr().err


def test_the_overview_lists_models_examples_and_commands(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    for name in (*KINDS, "upsampling", "train", "compare", "demo", "examples"):
        assert f"  {name} " in out
    lines = out.splitlines()
    assert not any(line.startswith("  ") and len(line.split()) < 2 for line in lines), "every line says something"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("examples vea", "there is no example 'vea'; there are autoencoder"),
        ("sample nowhere", "nowhere is no run that was trained"),
        ("compare nowhere", "nowhere is no run that was trained"),
        ("train vae --data nowhere.npz --device cpu", "nowhere.npz"),
        ("train image_realnvp --data PICTURES --size 10 --crop --device cpu", "2 squeezes halve the sides"),
        ("train realnvp --data nowhere.npy --device cpu", "nowhere.npy"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(words, message, pictures, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(words.replace("PICTURES", str(pictures))) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_a_folder_that_was_tampered_with(tmp_path, capsys):
    assert run(f"train realnvp --device cpu --out {tmp_path} --dry-run --hidden 4") == 0
    folder = tmp_path / "realnvp_dry_run"
    whole = (folder / "config.json").read_bytes()
    for content in (b"", b"{", b"[]", b'{"name": 1}', b'{"name": "x", "arguments": 3}', whole[:-20], b"\xff\xfe"):
        (folder / "config.json").write_bytes(content)
        assert run("evaluate", folder) == 2
        assert "config.json is damaged" in capsys.readouterr().err
    (folder / "config.json").unlink()
    assert run("evaluate", folder) == 2
    assert "there is no config.json in it" in capsys.readouterr().err


def test_two_processes_do_not_share_a_folder(tmp_path):
    """A lock held by another process; here by another handle, which is the same to the operating system."""
    from filelock import FileLock

    args = training.parser().parse_args(["--out", str(tmp_path)])
    with FileLock(tmp_path / ".vae.lock"), pytest.raises(RuntimeError, match="another process is training there"):
        training.start("vae", args)
    training.start("vae", args)


@pytest.mark.parametrize("inside", [True, False])
def test_examples_are_found_in_the_package_and_beside_it(inside, tmp_path, monkeypatch):
    """A wheel has them inside; there a folder beside the package is anybody's."""
    package = tmp_path / "tinygen"
    monkeypatch.setattr(examples, "PACKAGE", package)
    with pytest.raises(FileNotFoundError, match="the examples are missing"):
        examples.folder()
    places = [tmp_path / "examples", *([package / "examples"] if inside else [])]
    for place in places:
        place.mkdir(parents=True)
        for name in ("demo", "common", "vae"):
            (place / f"{name}.py").write_text('"""What it shows.\n"""')
    assert examples.folder() == places[-1]
    assert list(examples.files()) == ["demo", "vae"]
    assert examples.summary(examples.files()["vae"]) == "What it shows"


@pytest.mark.parametrize("words", [["examples", "backprop_by_hand"], ["demo"]])
def test_an_example_is_run_with_its_own_options(words):
    done = subprocess.run(
        [sys.executable, "-m", "tinygen", *words, "--help"], capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0 and f"usage: {words[-1]}.py" in done.stdout and "--dry-run" in done.stdout


def test_examples_are_listed_and_copied(tmp_path, capsys):
    assert run("examples") == 0
    listed = capsys.readouterr().out
    assert all(f"  {name} " in listed for name in examples.files())
    assert run("examples --copy", tmp_path / "mine") == 0
    assert {*examples.files(), *examples.HELPERS} == {file.stem for file in (tmp_path / "mine").glob("*.py")}
    assert run("examples --copy", tmp_path / "mine") == 2 and "mine" in capsys.readouterr().err


def test_a_reader_that_has_read_enough_is_no_error():
    with program(["-m", "tinygen", "examples"]) as process:
        process.stdout.close()
        assert process.wait(SECONDS) == 141 and process.stderr.read() == ""
