"""The plumbing of the examples."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest

import tinygen
from tinygen import data, training
from tinygen.errors import UsageError
from tinygen.training.run import unlock


class Terminal(io.StringIO):
    def isatty(self):
        return True


def on_a_terminal(monkeypatch):
    """Not a fixture: pytest puts its own stderr in place between set-up and test."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    return sys.stderr


def test_progress_passes_every_item_on(capsys):
    assert list(training.progress("abc", "letters")) == ["a", "b", "c"]
    assert list(training.progress(iter([]), "nothing")) == []
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == ["letters: 3/3", "nothing: 0"]
    assert list(training.progress([], "fewer than announced", total=3)) == []


def test_progress_lines_are_occasional_and_carry_the_metric_with_its_unit(capsys):
    for i in (bar := training.progress(range(50), "train", every=0)):
        bar.set("nats", loss=i / 3)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 50 and lines[-1].startswith("train: 50/50, ") and lines[-1].endswith(", loss 16.33 nats")
    assert all(" s left, loss " in line for line in lines[:-1]) and "left" not in lines[-1]
    for i in (bar := training.progress(range(50), "train", every=1000)):
        bar.set(accuracy=tinygen.tensor(0.5), step=i)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("accuracy 0.5, step 49")


def test_progress_without_a_length(capsys):
    bar = training.progress((i for i in range(3)), "free")
    with pytest.raises(TypeError, match="no length"):
        len(bar)
    assert sum(bar) == 3
    assert len(training.progress((i for i in range(3)), total=3)) == 3
    assert "free: 3, " in capsys.readouterr().err


def test_progress_is_a_bar_on_a_terminal(monkeypatch):
    pytest.importorskip("tqdm")
    terminal = on_a_terminal(monkeypatch)
    for _ in (bar := training.progress(range(3), "epoch 1")):
        bar.set("nats", loss=106.25)
    shown = terminal.getvalue()
    assert "epoch 1" in shown and "3/3" in shown and "loss 106.2 nats" in shown


def test_progress_on_a_terminal_without_tqdm(monkeypatch):
    terminal = on_a_terminal(monkeypatch)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert list(training.progress(range(2), "plain")) == [0, 1]
    assert terminal.getvalue().startswith("plain: 2/2, ")


def test_progress_with_a_delay_is_silent_about_what_is_quick(capsys, monkeypatch):
    pytest.importorskip("tqdm")
    assert list(training.progress(range(3), "quick", delay=60)) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    assert list(training.progress(range(3), "slow", delay=1e-9)) == [0, 1, 2]
    assert capsys.readouterr().err.startswith("slow: 3/3, ")
    terminal = on_a_terminal(monkeypatch)
    assert list(training.progress(range(3), "quick", delay=60)) == [0, 1, 2]
    assert terminal.getvalue() == ""


def test_select_device():
    assert str(training.select_device("cpu")) == "cpu"
    assert training.select_device("auto").type == ("cuda" if tinygen.cuda_available() else "cpu")
    with pytest.raises(ValueError, match="tpu"):
        training.select_device("tpu")
    if not tinygen.cuda_available():
        with pytest.raises(RuntimeError, match="cuda"):
            training.select_device("cuda")


def test_parser_has_the_shared_arguments_with_the_examples_defaults():
    args = training.parser("An example.", epochs=3, batch_size=100, lr=1e-3).parse_args([])
    assert (args.epochs, args.batch_size, args.lr, args.seed) == (3, 100, 1e-3, 0)
    assert (args.device, str(args.out), args.dry_run) == ("auto", "runs", False)
    args = training.parser(epochs=3, lr=1e-3).parse_args("--epochs 5 --lr 0.1 --seed 7 --device cpu --dry-run".split())
    assert (args.epochs, args.lr, args.seed, args.device, args.dry_run) == (5, 0.1, 7, "cpu", True)
    assert not hasattr(training.parser().parse_args([]), "epochs"), "only what the example has"


@pytest.mark.parametrize(
    "words", ["--epochs 0", "--epochs 1.5", "--lr 0", "--lr nan", "--lr inf", "--seed -1", "--batch-size x"]
)
def test_parser_refuses_what_makes_no_sense(words, capsys):
    with pytest.raises(SystemExit):
        training.parser(epochs=1, lr=1.0, batch_size=1).parse_args(words.split())
    assert "is expected, got" in capsys.readouterr().err


def test_parser_refuses_a_device_that_is_not_there(capsys):
    with pytest.raises(SystemExit):
        training.parser().parse_args(["--device", "abacus"])
    assert "no such device 'abacus'" in capsys.readouterr().err


PROGRAM = """
import sys
from tinygen import checkpoint, data, errors, training
args = training.parser().parse_args()
raise eval(sys.stdin.read())
"""


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        ("errors.UsageError('no')", 2, "-c: error: no\n"),
        ("data.DataError('no')", 2, "-c: error: no\n"),
        ("checkpoint.CheckpointError('no')", 2, "-c: error: no\n"),
        ("FloatingPointError('no')", 2, "-c: error: no\n"),
        ("KeyboardInterrupt()", 130, "-c: stopped; add --resume to the command to go on from what was saved last\n"),
        ("errors.ShapeError('a bug')", 1, "Traceback"),
    ],
)
def test_a_program_that_cannot_do_what_was_asked_says_so_in_a_line_and_a_bug_keeps_its_traceback(error, status, says):
    done = subprocess.run([sys.executable, "-c", PROGRAM], input=error, capture_output=True, text=True, timeout=60)
    assert done.returncode == status
    assert done.stderr == says or status == 1 and done.stderr.startswith(says) and "a bug" in done.stderr


def test_load_images(tmp_path, capsys):
    pixels = np.arange(600 * 16, dtype=np.uint8).reshape(600, 4, 4)
    np.savez(tmp_path / "x.npz", images=pixels)
    parser = training.parser(images=True)
    train, test = training.load_images(parser.parse_args(["--data", str(tmp_path / "x.npz"), "--size", "3"]))
    assert train.images.shape == (480, 3, 3) and test.images.shape == (120, 3, 3)
    args = parser.parse_args(["--data", "digits", "--dry-run"])
    train, test = training.load_images(args)
    assert (len(train), len(test), args.epochs) == (500, 200, 2)
    with pytest.raises(UsageError, match="neither one of digits"):
        training.load_images(parser.parse_args(["--data", str(tmp_path / "nothing")]))


def test_without_data_it_is_mnist_or_else_the_digits(monkeypatch, capsys):
    load = data.load

    def nothing_to_be_had(name, *arguments, **options):
        if name == "mnist":
            raise FileNotFoundError
        return load(name, *arguments, **options)

    monkeypatch.setattr(data, "load", nothing_to_be_had)
    train, _ = training.load_images(training.parser(images=True).parse_args([]))
    assert train.name == "digits train" and "learning from the embedded digits" in capsys.readouterr().err


def arguments(folder, *words):
    return training.parser(epochs=1, lr=1e-3).parse_args(["--out", str(folder), "--device", "cpu", *words])


def test_start_keeps_the_arguments_and_sets_an_earlier_run_aside_unless_it_is_resumed(tmp_path, capsys):
    folder = tmp_path / "toy"

    def train(value, *words):
        run = training.start("toy", arguments(tmp_path, *words))
        model = tinygen.nn.Linear(1, 1)
        keeper = run.keeper(name="one", model=model)
        for _ in keeper.epochs(1):
            model.weight.data.fill_(value)
        return model.weight.item(), run

    assert train(1.0, "--lr", "0.5")[0] == 1 and capsys.readouterr().err == ""
    stored = training.config(folder)
    assert stored["name"] == "toy" and stored["arguments"]["lr"] == 0.5 and stored["arguments"]["epochs"] == 1
    value, run = train(2.0, "--lr", "0.5", "--resume")
    assert value == 1, "it was done, and is read"
    assert run.settings["lr"] == 0.5 and not run.settings.keys() & {"out", "resume", "dry_run", "epochs"}
    with pytest.raises(UsageError, match=r"lr = 0\.5 then, 0\.001 now"):
        train(2.0, "--resume")
    assert training.config(folder) == {**stored, "arguments": {**stored["arguments"], "resume": True}}
    capsys.readouterr()
    assert train(3.0)[0] == 3 and "with --resume it would have gone on" in capsys.readouterr().err
    assert (tmp_path / "toy.previous" / "one.safetensors").exists()
    assert training.config(tmp_path / "toy.previous")["arguments"]["lr"] == 0.5
    assert train(4.0, "--dry-run")[0] == 4 and (tmp_path / "toy_dry_run" / "one.safetensors").exists()
    assert train(5.0, "--resume")[0] == 3


def test_a_folder_is_locked_while_a_process_is_at_work(tmp_path):
    training.start("toy", arguments(tmp_path))
    program = (
        "import sys; from tinygen import training\n"
        "training.start('toy', training.parser(epochs=1, lr=1e-3, out=sys.stdin.read()).parse_args())"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, input=str(tmp_path), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "another process is training there" in done.stderr
    unlock(tmp_path / "toy")
    assert subprocess.run(command, input=str(tmp_path), capture_output=True, text=True, timeout=60).returncode == 0


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"name": 1, "arguments": {}}', "[" * 10_000])
def test_config_refuses_what_is_none(text, tmp_path):
    with pytest.raises(FileNotFoundError, match="not the folder of a run"):
        training.config(tmp_path)
    (tmp_path / "config.json").write_text(text, "utf-8")
    with pytest.raises(ValueError, match="damaged"):
        training.config(tmp_path)


def test_run_collects_metrics(tmp_path):
    run = training.Run("vae", tmp_path / "out")
    assert run.path("x.png") == tmp_path / "out" / "vae" / "x.png" and run.folder.is_dir()
    run.save_metrics(loss=np.float32(0.5), curve=[1, np.int64(2)], per_class={"a": tinygen.tensor(3.0)})
    file = run.save_metrics(bound=float("-inf"), picture=run.path("x.png"), name="é", array=np.eye(2))
    assert json.loads(file.read_text("utf-8")) == {
        "loss": 0.5,
        "curve": [1, 2],
        "per_class": {"a": 3.0},
        "bound": "-inf",
        "picture": str(run.path("x.png")),
        "name": "é",
        "array": [[1.0, 0.0], [0.0, 1.0]],
    }
    assert [f.name for f in run.folder.iterdir()] == ["metrics.json"]


def test_table_aligns_numbers_right_and_texts_left():
    rows = [
        {"model": "VAE", "metric": "-ELBO", "unit": "nats", "value": 105.941, "published": 105.6},
        ("RealNVP", "NLL", "nats/point", np.float32(1.05), 1.903, tinygen.tensor(1.008)),
        ("GAN", "samples", "", 10_000, 12345.6),
    ]
    assert training.table(rows).splitlines() == [
        "model    metric   unit        value  baseline  floor  published",
        "───────  ───────  ──────────  ─────  ────────  ─────  ─────────",
        "VAE      -ELBO    nats        105.9         -      -      105.6",
        "RealNVP  NLL      nats/point   1.05     1.903  1.008          -",
        "GAN      samples              10000    12,346      -          -",
    ]


def test_table_refuses_what_has_no_column():
    with pytest.raises(ValueError, match="no column for \\['colour'\\]"):
        training.table([{"colour": 1}])
    with pytest.raises(ValueError, match="no column for \\[3\\]"):
        training.table([(1, 2, 3)], headers=("a", "b"))
    assert training.table([], headers=("a", "b")).splitlines()[0] == "a  b"
