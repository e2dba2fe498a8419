"""Measure the numbers in docs/results.md: train each model on its real data set and store what comes out.

    make reproduce                  all rows (a good hour on two idle cores; the GANs and the convolutional models take it)
    make reproduce ROW=vae          one row
    python examples/reproduce.py vae realnvp --device cuda --seed 1

Every row is one call of a model's `reproduce(...)`, in tinygen/models.  The numbers go to results/<row>.json, and
docs/results.md is written anew from all files there: nothing in it is typed by hand.  Pictures of the GANs' samples
while they train go to runs/reproduce/.

MNIST and Fashion-MNIST come from the folder TINYGEN_DATA, the cache, or the network (11 and 30 MB, once).
"""

from __future__ import annotations

import dataclasses
import math
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import enlarge_if_small

import tinygen as tg
from tinygen import data, plot, training
from tinygen.models import Result, autoencoder, classifier, conv_autoencoder, conv_vae, dcgan, gan, realnvp, vae

ROOT = Path(__file__).resolve().parent.parent

ROWS: dict[str, Callable[..., Result]] = {
    "classifier": classifier.reproduce,
    "autoencoder": autoencoder.reproduce,
    "linear_autoencoder": autoencoder.reproduce_linear,
    "conv_autoencoder": conv_autoencoder.reproduce,
    "vae": vae.reproduce,
    "gaussian_vae": vae.reproduce_gaussian,
    "conv_vae": conv_vae.reproduce,
    "realnvp": realnvp.reproduce,
    "gan": gan.reproduce,
    "dcgan": dcgan.reproduce,
    "dcgan_fashion": dcgan.reproduce_fashion,
}


def main() -> None:
    parser = training.parser(__doc__, device="cpu")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"which numbers: {', '.join(ROWS)} (default: all)")
    parser.add_argument("--report", action="store_true", help="train nothing: only rewrite docs/results.md")
    args = parser.parse_args()
    if unknown := set(args.rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    results = Path(args.out) / "results" if args.dry_run else ROOT / "results"
    for name in [] if args.report else args.rows or ROWS:
        options: dict[str, Any] = {"seed": args.seed, "device": str(training.select_device(args.device))}
        if args.dry_run:
            options |= dry_run(name)
        if "gan" in name:
            options["watch"] = save_samples(name, training.Run("reproduce", args.out), args.seed)
        print(f"{name}: training", flush=True)
        result = ROWS[name](**options)
        stamp = {"command": command(name, args), "machine": machine(options["device"])}
        result = dataclasses.replace(result, **stamp, more=tuple(dataclasses.replace(r, **stamp) for r in result.more))
        result.save(results / f"{name}.json")
        print(training.table([row(r) for r in result.rows()], HEADERS))
        print(f"    {math.ceil(result.seconds)} s; " + "; ".join(f"{k}: {v}" for k, v in result.notes.items()) + "\n")
    if not args.dry_run:
        write_report(results, ROOT / "docs" / "results.md")


def command(name: str, args: Any) -> str:
    """The shortest command that measures this number again."""
    if args.seed == 0 and args.device == "cpu":
        return f"make reproduce ROW={name}"
    return f"python examples/reproduce.py {name} --seed {args.seed} --device {args.device}"


def machine(device: str) -> str:
    """What the number was measured on, as far as it matters for its last digits and its seconds."""
    return f"{platform.system()} {platform.machine()}, NumPy {np.__version__}, {device}"


def dry_run(name: str) -> dict[str, Any]:
    """Options for a run of seconds that goes through every line."""
    options: dict[str, Any] = {"epochs": 1}
    if name in ("gaussian_vae", "realnvp"):
        return options | {"n": 200}
    train, test = data.digits()
    if name.startswith("conv_"):
        train, test = enlarge_if_small(train), enlarge_if_small(test)
    return options | {"dataset": (train.subset(slice(300)), test)} | ({"samples": 200} if "gan" in name else {})


def save_samples(name: str, run: training.Run, seed: int, every: int = 5) -> Callable[[int, gan.GAN], None]:
    """A function that draws the images of 64 fixed latents every few epochs."""
    z = tg.randn(64, 100, generator=tg.Generator().manual_seed(seed))

    def watch(epoch: int, model: gan.GAN) -> None:
        if epoch % every == 0 or epoch == 1:
            with tg.no_grad():
                images = model.decode(z.to(device=next(model.parameters()).device)).cpu().numpy().reshape(len(z), -1)
            side = math.isqrt(images.shape[1])
            file = run.path(f"{name}_epoch_{epoch:03d}.png")
            plot.image_grid(images.reshape(-1, side, side), file, title=f"{name} after {epoch} epochs")

    return watch


PICTURES = {
    "conv_autoencoder": "Test images, drawn again from 8 numbers after 3 epochs: original, CNN, PCA "
    "(examples/conv_autoencoder.py --epochs 3)",
    "dcgan": "64 samples after 10 epochs",
    "dcgan_fashion": "64 samples after 10 epochs",
}
"""Captions of what lies in docs/pictures/ under the row's name."""

HEADERS = ("name", "metric", "unit", "value", "baseline", "floor", "published", "target")


def row(result: Result) -> dict[str, Any]:
    return {name: getattr(result, name) for name in HEADERS}


def write_report(results: Path, target: Path) -> None:
    """docs/results.md from the stored results."""
    names = [*ROWS, "mutation"]  # the last is stored by `make mutate`
    stored = {name: Result.load(results / f"{name}.json") for name in names if (results / f"{name}.json").is_file()}
    rows = [r for result in stored.values() for r in result.rows()]
    lines = [
        "# Results",
        "",
        "Measured by `make reproduce`, which trains each model, stores the numbers in `results/` and writes this page from",
        "them. One seed each, so the last digits are luck.",
        "",
        "*Baseline* is a trivial model, *floor* the best value possible (for a score: the ceiling), *published* somebody",
        "else's number for the same set-up; what exactly they are stands below the table.",
        "",
        "| model | metric | unit | value | baseline | floor | published | target |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        numbers = " | ".join(number(v) for v in (r.baseline, r.floor, r.published))
        lines.append(f"| {r.name} | {r.metric} | {r.unit} | **{number(r.value)}** | {numbers} | {r.target or '–'} |")
    for name, result in stored.items():
        lines += ["", f"## {result.name.partition(':')[0]}", ""]
        lines.append(
            f"`{result.command}` · {result.date} · seed {result.seed} · took {minutes(result.seconds)} · {result.machine}"
        )
        lines += ["", f"- settings: {values(result.settings)}"]
        for r in result.rows():
            prefix = f"{r.name.partition(': ')[2]}: " if result.more else ""
            if r.seconds != result.seconds:
                lines.append(f"- {prefix}took {minutes(r.seconds)}")
            lines += [f"- {prefix}{key}: {values(value)}" for key, value in r.notes.items()]
        if name in PICTURES:
            lines += ["", f"![{PICTURES[name]}](pictures/{name}.png)", "", f"*{PICTURES[name]}.*"]
    target.parent.mkdir(exist_ok=True)
    target.write_text("\n".join(lines) + "\n", "utf-8")
    print(f"{target.relative_to(ROOT)}: {len(rows)} numbers", file=sys.stderr)


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def values(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {values(v)}" for key, v in value.items())
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


if __name__ == "__main__":
    main()
