"""The arguments that all examples share."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any

from tinygen import backend


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
) -> argparse.ArgumentParser:
    """The arguments that all examples share: --device, --seed, --out, --dry-run, and those given a default here.

    An example adds its own with `add_argument`.  In the result, `args.dry_run` asks for a run of seconds that goes
    through every line: the example decides how (one epoch, few images).
    """
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if epochs is not None:
        p.add_argument("--epochs", type=_at_least_one, default=epochs, help=f"passes over the data (default {epochs})")
    if batch_size is not None:
        text = f"samples per step (default {batch_size})"
        p.add_argument("--batch-size", type=_at_least_one, default=batch_size, help=text)
    if lr is not None:
        p.add_argument("--lr", type=_positive, default=lr, help=f"learning rate (default {lr:g})")
    p.add_argument("--seed", type=_natural, default=seed, help=f"seed of every random number (default {seed})")
    text = f"cpu, cuda, cuda:1, or auto: the GPU where there is one (default {device})"
    p.add_argument("--device", default=device, help=text)
    p.add_argument("--out", type=Path, default=Path(out), help=f"folder for pictures and numbers (default {out})")
    p.add_argument("--dry-run", action="store_true", help="go through every line in seconds, to see that it works")
    return p


def _natural(text: str) -> int:
    return _number(text, int, 0, "an integer >= 0")


def _at_least_one(text: str) -> int:
    return _number(text, int, 1, "an integer >= 1")


def _positive(text: str) -> float:
    return _number(text, float, sys.float_info.min, "a number > 0")


def _number(text: str, kind: type, least: float, expected: str) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not least <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{expected} is expected, got {text!r}")
    return value
