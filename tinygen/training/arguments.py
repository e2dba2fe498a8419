"""The arguments that all examples share."""

from __future__ import annotations

import argparse
import errno
import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from tinygen import backend, data, harmless
from tinygen.checkpoint import CheckpointError
from tinygen.errors import UsageError
from tinygen.training.interrupts import say

DATA = (
    "images to learn from: digits, mnist, fashion, usps, frey, olivetti, an .npz file with an array `images`, an .npy file, or a "
    "folder of images (default: mnist if it can be had, else digits)"
)

NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
"""A full disk, a quota that is used up, a folder in which nothing may be written: no mistake in the code."""


def select_device(name: str = "auto") -> backend.Device:
    """The device of that name; "auto" is the GPU where one is usable, else the CPU.

    Raises RuntimeError for "cuda" without a usable GPU, saying what is missing; ValueError for no such device.
    """
    if name == "auto":
        name = "cuda" if backend.cuda_available() else "cpu"
    return backend.device(name)


def parser(
    description: str | None = None,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    seed: int = 0,
    out: str = "runs",
    device: str = "auto",
    images: bool = False,
    add_help: bool = True,
) -> argparse.ArgumentParser:
    """The arguments that all examples share: --device, --seed, --out, --resume, --dry-run, and those given a default here.

    An example adds its own with `add_argument`.  In the result, `args.dry_run` asks for a run of seconds that goes
    through every line: the example decides how (one epoch, few images).
    images: it learns from images, `load_images(args)`: also --data and --size; without --epochs it chooses as many as the
    data set needs.
    add_help: False for a parser that becomes a parent of another.

    A program whose arguments were read by `parse_args()` ends in one line, with exit status 2, when what it was asked for
    cannot be done (UsageError, DataError, CheckpointError, and the FloatingPointError of `Keeper.check`), and without a
    traceback on Ctrl-C, with status 130.  What is wrong with the code is shown with its traceback as ever.
    description: what the program does.  epochs, batch_size, lr, seed, out, device: the defaults.
    """
    p = _Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter, add_help=add_help)
    if images:
        p.add_argument("--data", metavar="NAME|PATH", help=DATA)
        p.add_argument(
            "--size", type=at_least(1), help="height and width that the images are resized to (default: as they are)"
        )
        p.add_argument(
            "--crop", action="store_true", help="take the middle of each image, as a square; else --size squashes"
        )
        p.add_argument(
            "--max-bytes", type=at_least(1), metavar="N", help="the most that the images may take (default: 2 GiB)"
        )
        p.add_argument("--epochs", type=at_least(1), help="passes over the data (default: what the data need)")
    elif epochs is not None:
        p.add_argument("--epochs", type=at_least(1), default=epochs, help=f"passes over the data (default {epochs})")
    if batch_size is not None:
        text = f"samples per step (default {batch_size})"
        p.add_argument("--batch-size", type=at_least(1), default=batch_size, help=text)
    if lr is not None:
        p.add_argument("--lr", type=positive, default=lr, help=f"learning rate (default {lr:g})")
    p.add_argument("--seed", type=at_least(0), default=seed, help=f"seed of every random number (default {seed})")
    text = f"cpu, cuda, cuda:1, or auto: the GPU where there is one (default {device})"
    p.add_argument("--device", type=_device, default=device, help=text)
    p.add_argument("--out", type=Path, default=Path(out), help=f"folder for pictures and numbers (default {out})")
    p.add_argument("--resume", action="store_true", help="go on where the run in that folder was stopped")
    p.add_argument("--dry-run", action="store_true", help="go through every line in seconds, to see that it works")
    return p


def load_images(args: argparse.Namespace) -> tuple[data.ImageDataset, data.ImageDataset]:
    """The images of --data: (train, test).  Without --data MNIST, or the embedded digits where MNIST cannot be had.

    With --dry-run only a few images of it, and args.epochs becomes 2.  args.data_checksum becomes `data.checksum` of them all: a
    run goes on with the same images only.  Raises UsageError when they cannot be had.
    """
    options: dict[str, Any] = {
        "crop": bool(getattr(args, "crop", False)),
        "max_bytes": getattr(args, "max_bytes", None),
    }
    try:
        if args.data is not None:
            train, test = data.load(args.data, args.size, **options)  # one split for all seeds, so that runs compare
        else:
            try:
                train, test = data.load("mnist", args.size, **options)
            except FileNotFoundError:
                sys.stderr.write("MNIST is not here and could not be downloaded: learning from the embedded digits.\n")
                train, test = data.load("digits", args.size, **options)
    except (OSError, ImportError, ValueError) as error:
        raise UsageError(str(error)) from error
    args.data_checksum = data.checksum(train, test)
    if args.dry_run:
        train, test, args.epochs = train.subset(slice(500)), test.subset(slice(200)), 2
    return train, test


def at_least(least: int) -> Callable[[str], int]:
    """The type of an argument that is an integer >= least: `parser.add_argument("--latent", type=training.at_least(1))`."""
    return lambda text: _number(text, int, least, f"an integer >= {least}")


def positive(text: str) -> float:
    """The type of an argument that is a number > 0."""
    return _number(text, float, sys.float_info.min, "a number > 0")


def _number(text: str, kind: type, least: float, expected: str) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not least <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{expected} is expected, got {text!r}")
    return value


def _device(text: str) -> str:
    try:
        select_device(text)
    except (ValueError, RuntimeError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


class _Parser(harmless.Parser):
    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:  # type: ignore[override]
        if args is None:  # the command line's: from here on this process is that program
            sys.excepthook = partial(_report, self.prog)
        return super().parse_args(args, namespace)


def _report(program: str, kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """As argparse does with arguments that it refuses."""
    if issubclass(kind, UsageError | data.DataError | CheckpointError | FloatingPointError):
        say(f"{program}: error: {harmless.message(error)}\n")
        raise SystemExit(2)
    if isinstance(error, OSError) and error.errno in NO_PLACE:
        say(
            f"{program}: error: {harmless.message(error)}; choose another --out, or make room and add --resume to the command\n"
        )
        raise SystemExit(2)
    if issubclass(kind, KeyboardInterrupt):
        say(f"{program}: stopped; add --resume to the command to go on from what was saved last\n")
        raise SystemExit(130)
    sys.__excepthook__(kind, error, traceback)
