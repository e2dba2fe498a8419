"""Commands and their arguments."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tinygen as tg
from tinygen import harmless, training
from tinygen.cli import compare, examples, judge, runs, show
from tinygen.cli.kinds import KINDS, options, words
from tinygen.cli.train import train

COMMANDS = {
    "train MODEL": "train a model; --help lists what it can be told",
    "sample RUN": "draw from it",
    "interpolate RUN": "from one image to another",
    "evaluate RUN": "its numbers, beside baseline and floor",
    "compare RUN RUN": "curves on one plot, and a table",
    "demo": "train seven models in a minute; pictures in runs/demo",
    "examples": "list the examples; examples NAME ... runs one, with its own options",
}


POINTS = "rows of numbers to learn from, of any width: an .npy, .npz or .csv file, or moons (the default)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0, 2 for what cannot be done as it was asked for, 130 after Ctrl-C, 141 if nobody reads on."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    args = parser().parse_args(["examples", *words] if words[:1] == ["demo"] else words)
    command, traceback, function = (vars(args).pop(key, None) for key in ("command", "traceback", "function"))
    if function is None:
        print(overview())
        return 0
    try:
        with harmless.warning_lines(f"tinygen {command}"):
            function(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        go_on = "; add --resume to the command to go on from what was saved last" if command == "train" else ""
        sys.stderr.write(f"stopped{go_on}\n")
        return 130
    except BrokenPipeError:  # `tinygen ... | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at the end
        return 141
    except Exception as error:  # whatever a file of a stranger did: one message, and an exit status that says so
        if traceback or isinstance(error, Warning):  # python -W error asks for it
            raise
        sys.stderr.write(f"tinygen {command}: {harmless.error(error)}\n")
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    p = harmless.Parser("tinygen", description="Generative models, trained, shown and measured.")
    p.add_argument("--version", action="version", version=f"tinygen {tg.__version__}")
    p.add_argument("--traceback", action="store_true", help="show where in the source an error comes from")
    commands = p.add_subparsers(dest="command", metavar="COMMAND")
    _train(commands)

    def reads_a_run(name: str, function: Any, text: str) -> argparse.ArgumentParser:
        q = commands.add_parser(name, help=text, description=text)
        q.set_defaults(function=function)
        q.add_argument(
            "run", type=Path, metavar="RUN", help="the folder of a run, or one of the .safetensors files in it"
        )
        q.add_argument("--device", default="auto", help="cpu, cuda, or auto (default)")
        text = (
            "of the draws that measuring needs (default 0)"
            if name == "evaluate"
            else "of every random number (default: the run's)"
        )
        q.add_argument("--seed", type=int, help=text)
        return q

    def draws(q: argparse.ArgumentParser, file: str) -> None:
        q.add_argument("--out", type=Path, metavar="FILE", help=f"the picture (default RUN/{file})")
        q.add_argument("--data", metavar="NAME|PATH", help="the data of its training, if they are no set of that name")

    q = reads_a_run("sample", _sample, "Draw from a trained model: RUN/sample.png")
    draws(q, "sample.png")
    q.add_argument("-n", type=int, default=64, help="how many (default 64)")
    q = reads_a_run("interpolate", _interpolate, "From one image to another through their codes: RUN/interpolate.png")
    draws(q, "interpolate.png")
    q.add_argument("-n", type=int, default=6, help="how many ways (default 6)")
    q.add_argument("--steps", type=int, default=11, help="images per way (default 11)")
    q = reads_a_run("evaluate", _evaluate, "The numbers of a trained model on test images: RUN/metrics.json")
    q.add_argument(
        "--data", metavar="NAME|PATH", help="images (or points), if not those of the set that it was trained on"
    )
    q.add_argument("--again", action="store_true", help="measure anew what has been measured before")
    q = commands.add_parser("compare", help="curves on one plot, and a table", description="Several runs side by side.")
    q.set_defaults(function=_compare)
    q.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of runs")
    q.add_argument("--out", type=Path, default=Path("runs/compare.png"), help="the plot (default runs/compare.png)")
    q.add_argument("--sort", metavar="METRIC", help="the best first, by the first metric with these letters; or: name")
    q.add_argument(
        "--csv", type=Path, metavar="FILE", help="all numbers, one a line, with what they were measured with"
    )
    q.add_argument("--latex", type=Path, metavar="FILE", help="the table, as LaTeX")
    q.add_argument(
        "--each", action="store_true", help="a row for every run, also where runs differ by their seed alone"
    )
    q = commands.add_parser("examples", help="list, run or copy the examples", description="The examples of tinygen.")
    q.set_defaults(function=_examples)
    q.add_argument("--copy", type=Path, metavar="FOLDER", help="copy them all to a new folder, to be changed")
    q.add_argument("name", nargs="?", metavar="NAME", help="run this one")
    q.add_argument("options", nargs=argparse.REMAINDER, metavar="...", help="its own options; try NAME --help")
    commands.add_parser("demo", help=COMMANDS["demo"], add_help=False)  # `examples demo`: see main
    return p


def _train(commands: Any) -> None:
    q = commands.add_parser(
        "train", help="train a model", description="Train a model on images, or on points in the plane."
    )
    models = q.add_subparsers(dest="model", metavar="MODEL", required=True)
    for name, kind in KINDS.items():
        m = models.add_parser(
            name,
            help=kind.summary,
            parents=[training.parser(None, images=True, batch_size=kind.batch_size, lr=kind.lr, add_help=False)],
            description=f"{kind.summary}.",
        )
        m.set_defaults(function=train)
        m.add_argument("--name", help=f"of the run's folder (default {name})")
        if kind.points:
            m.add_argument("--noise", type=float, default=0.1, help="of the two moons (default 0.1)")
            for action in m._actions:  # of those that all models share
                action.help = {"data": POINTS, "size": argparse.SUPPRESS, "crop": argparse.SUPPRESS}.get(
                    action.dest, action.help
                )
        for option, default in options(kind).items():
            flag, text = f"--{option.replace('_', '-')}", f"{words(kind)[option]} (default {_plain(default)})"
            if isinstance(default, bool):
                m.add_argument(flag, action="store_true", help=text)
            elif isinstance(default, tuple):
                m.add_argument(flag, type=int, nargs="+", default=default, metavar="N", help=text)
            else:
                m.add_argument(flag, type=type(default), default=default, help=text)


def _plain(default: Any) -> str:
    """A default as it is typed on the command line."""
    if isinstance(default, bool):
        return "yes" if default else "no"
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)


def overview() -> str:
    """Models, examples and commands, a line each."""
    rows = [("models", "")] + [(f"  {name}", kind.summary) for name, kind in KINDS.items()]
    rows += [("", ""), (f"examples, in {examples.folder()}", "")]
    rows += [(f"  {name}", examples.summary(file)) for name, file in examples.files().items()]
    rows += [("", ""), ("commands: tinygen ...", "")] + [(f"  {name}", text) for name, text in COMMANDS.items()]
    width = max(len(name) for name, text in rows if text) + 2
    return "\n".join(f"{name:<{width}}{text}".rstrip() for name, text in rows)


def _read(args: argparse.Namespace) -> tuple[runs.Trained, argparse.Namespace]:
    trained = runs.read(args.run, training.select_device(args.device))
    everything = runs.of_run(trained, args)
    tg.manual_seed(everything.seed)
    return trained, everything


def _sample(args: argparse.Namespace) -> None:
    if args.n < 1:
        raise ValueError(f"-n must be at least 1, got {args.n}")
    out = args.out or runs.folder_of(args.run) / "sample.png"
    trained, everything = _read(args)
    print(harmless.text(show.sample(trained, args.n, out, runs.promised(everything, trained)[0]), harmless.PATH))


def _interpolate(args: argparse.Namespace) -> None:
    if args.n < 1 or args.steps < 2:
        raise ValueError(f"-n >= 1 and --steps >= 2 are expected, got {args.n} and {args.steps}")
    out = args.out or runs.folder_of(args.run) / "interpolate.png"
    trained, everything = _read(args)
    file = show.interpolate(trained, args.n, args.steps, out, *runs.promised(everything, trained))
    print(harmless.text(file, harmless.PATH))


def _evaluate(args: argparse.Namespace) -> None:
    seed, args.seed = args.seed or 0, None  # of the draws that measure, not of the run
    again = vars(args).pop("again")
    trained, everything = _read(args)
    train_samples, test, sets = runs.samples_of(everything, trained)
    judge.measure(trained, train_samples, test, sets, everything, seed, again)


def _compare(args: argparse.Namespace) -> None:
    compare.compare(args.runs, args.out, args.sort, args.csv, args.latex, args.each)


def _examples(args: argparse.Namespace) -> None:
    if args.copy is not None:
        print(f"{len(examples.copy(args.copy))} files in {harmless.text(args.copy, harmless.PATH)}")
    if args.name is not None:
        examples.run(args.name, args.options)
    elif args.copy is None:
        width = max(map(len, examples.files())) + 2
        print(f"in {examples.folder()}; tinygen examples NAME runs one\n")
        for name, file in examples.files().items():
            print(f"  {name:<{width}}{examples.summary(file)}")
