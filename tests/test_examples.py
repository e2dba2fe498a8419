"""Every example goes through all of its lines with --dry-run, and leaves the pictures that its docstring names."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinygen.training import records

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
OPTIONS = {
    "autoencoder": ["--data", "digits"],
    "conv_autoencoder": ["--data", "digits", "--codes", "4", "8"],
    "vae": ["--data", "digits", "--latent", "2"],
    "conv_vae": ["--data", "digits"],
    "gan": ["--data", "digits", "--k", "2"],
    "dcgan": ["--data", "digits"],
    "gaussian_vae": [],
    "flow_pieces": [],
    "realnvp": [],
    "tabular": [],
    "image_realnvp": ["--data", "digits"],
    "upsampling": ["--data", "digits"],
    "demo": [],
    "from_pytorch": [],
    "backprop_by_hand": [],
    "transposed_convolution": [],
    "write_your_own_op": [],
}


IMAGES = [name for name in OPTIONS if "--data" in OPTIONS[name]]
TRAINING = [*IMAGES, "gaussian_vae", "realnvp", "tabular"]
WITHOUT_LABELS = {"dcgan": {"arithmetic.png"}}
"""Pictures that need labels."""


def start(name, folder, *options, warnings="error"):
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": warnings}
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), "--dry-run", "--device", "cpu", "--out", str(folder)]
    return subprocess.run([*command, *options], capture_output=True, text=True, env=environment, timeout=300)


def run(name, folder, *options):
    done = start(name, folder, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_folder(name, folder):
    return folder / f"{name}_dry_run"


def pictures_in_the_docstring(name):
    text = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text("utf-8")))
    return set(re.findall(r"\w+\.(?:png|gif)", text))


@pytest.mark.parametrize("name", OPTIONS)
def test_example(name, tmp_path):
    if name == "from_pytorch":
        pytest.importorskip("torch")  # without it there is nothing to compare: tests/test_interchange.py
    output = run(name, tmp_path, *OPTIONS[name])
    assert output.strip()
    folder, named = run_folder(name, tmp_path), pictures_in_the_docstring(name)
    for picture in named:
        assert (folder / picture).stat().st_size > 1000
    drawn = {p.name for p in folder.glob("*.png")}
    assert drawn and drawn == {picture for picture in named if picture.endswith(".png")} or name == "demo"
    if name in TRAINING:
        assert json.loads((folder / "config.json").read_text("utf-8"))["name"] == name
        lines = next(folder.glob("*metrics.jsonl")).read_text("utf-8").splitlines()
        assert "loss" in json.loads(lines[0]) or "G loss" in json.loads(lines[0])
        if name not in (
            "upsampling",
            "tabular",
        ):  # they compare several models, by measures of their own, over several runs
            measured = records.read(folder)
            assert measured and all(record.by == name for record in measured), "what `tinygen compare` reads"


@pytest.fixture(scope="module")
def own_images(tmp_path_factory):
    """Spots of some colour at some place, 20×20 pixels: as a folder of pictures, and in grey as an array."""
    image = pytest.importorskip("PIL.Image")
    folder = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:20, :20]
    (folder / "spots").mkdir()
    spots = []
    for i in range(60):
        row, column = rng.uniform(4, 16, 2)
        spots.append(np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 20))
        pixels = 255 * spots[-1][..., None] * rng.random(3)
        image.fromarray(pixels.astype(np.uint8)).save(folder / "spots" / f"{i}.png")
    np.savez(folder / "spots.npz", images=np.array(spots, np.float32))
    np.savez(folder / "odd.npz", images=np.array(spots, np.float32)[:, 1:, 2:])
    np.savez(folder / "few.npz", images=np.array(spots, np.float32)[:12])
    return folder


def seldom(names, but):
    """The names, all but a few marked as slow."""
    return [name if name in but else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", seldom(IMAGES, but=["conv_vae"]))
def test_own_pictures_in_colour_without_labels(name, tmp_path, own_images):
    output = run(name, tmp_path, *OPTIONS[name], "--data", str(own_images / "spots"))
    assert "48 images of 20×20 in colour, no labels" in output
    assert ("No labels: " in output) == (name in ("conv_autoencoder", "conv_vae", "gan", "dcgan"))
    drawn = {p.name for p in run_folder(name, tmp_path).glob("*.png")}
    assert drawn == pictures_in_the_docstring(name) - WITHOUT_LABELS.get(name, set())


@pytest.mark.parametrize("name", seldom(IMAGES, but=["image_realnvp"]))
def test_own_array_of_an_odd_size(name, tmp_path, own_images):
    """Where the model takes it, it trains; where not, the error says which size does, and that one trains."""
    options = [*OPTIONS[name], "--data", str(own_images / "odd.npz")]
    done = start(name, tmp_path, *options)
    takes_any = name not in ("image_realnvp", "upsampling")
    assert done.returncode == (0 if takes_any else 2), done.stderr
    if not takes_any:
        (error,) = done.stderr.splitlines()
        assert error.startswith(f"{name}.py: error: the images have 19×18 pixels")
        assert "18×18" not in run(name, tmp_path, *options, "--size", re.search(r"--size (\d+)", error)[1], "--crop")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--data", "no/such/folder"], "neither one of digits, mnist"),
        (["--data", "{own}/few.npz"], "ten and more are needed"),
        (["--data", "digits", "--lr", "1e30"], "the loss is "),
    ],
)
def test_what_cannot_be_done_ends_in_one_message(options, says, tmp_path, own_images):
    done = start("vae", tmp_path, *(option.format(own=own_images) for option in options), warnings="ignore")
    assert done.returncode == 2 and says in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("labels", [True, False])
def test_own_table(labels, tmp_path):
    """60 rows on a line in space, and 10 beside it."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((70, 1)) * [1, 2, 3] + 0.1 * rng.standard_normal((70, 3)) + [0, 0, 9]
    is_anomaly = np.arange(70) >= 60
    rows[is_anomaly, 1] += 20
    file = tmp_path / "own.csv"
    columns = [rows, is_anomaly[:, None]] if labels else [rows]
    np.savetxt(file, np.hstack(columns), delimiter=",", header="a,b,c" + ",odd" * labels, comments="")
    output = run("tabular", tmp_path, "--data", str(file), *["--labels"] * labels)
    count = (60, 10) if labels else (70, 0)
    assert f"own: {count[0]} normal rows, {count[1]} anomalies, 3 columns" in output
    (line,) = [line for line in output.splitlines() if "one Gaussian  " in line]
    assert line.endswith("1.000 ± 0.000" if labels else "-")
    assert (tmp_path / "tabular_dry_run" / "scores.png").stat().st_size > 1000
    done = start("tabular", tmp_path, "--data", str(tmp_path / "none.csv"))
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr


def state_of(folder):
    """Everything that an example leaves behind, but for times."""
    files = {file.name: file.read_bytes() for file in folder.iterdir() if file.suffix in (".png", ".gif")}
    for file in folder.glob("*.json*"):
        lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.suffix == ".jsonl" else []
        files[file.name] = [{k: v for k, v in line.items() if k != "seconds"} for line in lines]
    return files


@pytest.mark.parametrize("name", seldom(TRAINING, but=["vae"]))
def test_a_finished_run_that_is_resumed_draws_the_same_pictures(name, tmp_path):
    options = OPTIONS[name]
    folder = run_folder(name, tmp_path)
    first_printed = run(name, tmp_path, *options)
    first = state_of(folder)
    assert run(name, tmp_path, *options, "--resume") == first_printed or name == "image_realnvp"  # prints seconds
    assert state_of(folder) == first
