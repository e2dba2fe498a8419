"""Measure the numbers in docs/results.md: train each model on its real data set and store what comes out.

    make reproduce                  all rows that are not stored yet (hours on two idle cores, minutes for most single rows)
    make reproduce ROW=vae          one row, anew
    python examples/reproduce.py vae realnvp --device cuda --seed 1

Every row is one call of a model's `reproduce(...)`, in tinygen/models.  The numbers go to results/<row>.json, and
docs/results.md is written anew from all files there: nothing in it is typed by hand.

A row that was stopped, by Ctrl-C or by a power cut, goes on where it was with the same command: its state lies in
runs/reproduce/<row>/ until it is done.  Pictures of samples while a model trains go there too.

MNIST and Fashion-MNIST come from the folder TINYGEN_DATA, the cache, or the network (11 and 30 MB, once).
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from report import row, write_report

import tinygen as tg
from tinygen import data, plot, training
from tinygen.models import (
    ImageFlow,
    Result,
    autoencoder,
    binarized_vae,
    classifier,
    comparison,
    conv_autoencoder,
    conv_vae,
    dcgan,
    gan,
    image_realnvp,
    iwae,
    nice,
    realnvp,
    vae,
)

ROOT = Path(__file__).resolve().parent.parent
Sets = tuple[data.ImageDataset, ...]


def digits() -> Sets:
    """A few hundred of the embedded 8×8 digits."""
    train, test = data.digits()
    return train.subset(slice(300)), test


def byte_digits() -> Sets:
    """The same with pixels k/255, as images come in files."""
    return tuple(data.ImageDataset(part.name, (255 * part.images).round() / 255, part.labels) for part in digits())


def binary_digits() -> Sets:
    """The same in black and white, with some for validation."""
    train, test = (data.ImageDataset(part.name, part.images.round(), part.labels) for part in digits())
    return train.subset(slice(200)), train.subset(slice(200, 300)), test


@dataclass(frozen=True)
class Row:
    """One line of the table in docs/results.md, or several that one run gives.

    measure: the function that trains and measures.  It is given those of the arguments `seed`, `device`, `keep` (the folder
        of its `training.Keeper`s) and `watch` that it has.
    small: arguments for a run of seconds that goes through every line (--dry-run, and the test suite); dataset: the one for
        that run.
    captions: of its pictures in docs/pictures.  watch: (row, folder, seed) -> the function that draws samples.
    """

    measure: Callable[..., Result]
    small: Mapping[str, Any] = field(default_factory=lambda: {"epochs": 1})
    dataset: Callable[[], Sets] | None = None
    captions: Mapping[str, str] = field(default_factory=dict)
    watch: Callable[[str, Path, int], Callable] | None = None


def save_samples(name: str, folder: Path, seed: int, every: int = 5) -> Callable[[int, gan.GAN], None]:
    """A function that draws the images of 64 fixed latents every few epochs."""
    z = tg.randn(64, 100, generator=tg.Generator().manual_seed(seed))

    def watch(epoch: int, model: gan.GAN) -> None:
        if epoch % every == 0 or epoch == 1:
            with tg.no_grad():
                images = model.decode(z.to(device=next(model.parameters()).device)).cpu().numpy().reshape(len(z), -1)
            side = math.isqrt(images.shape[1])
            file = folder / f"epoch_{epoch:03d}.png"
            plot.image_grid(images.reshape(-1, side, side), file, title=f"{name} after {epoch} epochs")

    return watch


def save_flow(name: str, folder: Path, seed: int) -> Callable[[int, ImageFlow], None]:
    """A function that draws, after every epoch, 64 samples and the manifold through four test images."""

    def watch(epoch: int, model: ImageFlow) -> None:
        here = next(model.parameters()).device
        z = tg.randn(64, math.prod(model.image), generator=tg.Generator().manual_seed(seed)).to(device=here)
        state = tg.get_rng_state()  # training goes on as if nothing had been drawn
        with tg.no_grad():
            samples = model.decode(z).cpu().numpy()
        plot.image_grid(
            samples[:, 0], folder / f"samples_{epoch:03d}.png", title=f"{name}: samples after {epoch} epochs"
        )
        if model.image == (1, 28, 28):
            four = tg.tensor(data.mnist()[1].images[:4], device=here).unsqueeze(1)
            images = model.manifold(four, 8).cpu().numpy().reshape(-1, 28, 28)
            plot.image_grid(images, folder / f"manifold_{epoch:03d}.png", ncols=8)
        tg.set_rng_state(state)

    return watch


SAMPLES = {"epochs": 1, "samples": 200}
SMALLER = {"sizes": {"GAN": {"hidden": (32, 64)}, "AE": {"hidden": 32}, "VAE": {"hidden": 32}}}
SHALLOW = {"layers": ((16, 3, 1), (16, 2, 2))}  # 8×8 -> 6×6 -> 3×3
POINTS = {"epochs": 1, "n": 200}
SIXTY_FOUR = "64 samples after 10 epochs"
FLOW = {
    "image_realnvp.png": "64 samples after 6 epochs",
    "image_realnvp_manifold.png": "The surface through the codes of four test images: 7, 2, 1, 0",
}
DECODED = (
    "Test images, drawn again from 8 numbers after 3 epochs: original, CNN, PCA "
    "(examples/conv_autoencoder.py --epochs 3)"
)

ROWS = {
    "classifier": Row(classifier.reproduce, dataset=digits),
    "autoencoder": Row(autoencoder.reproduce, dataset=digits),
    "linear_autoencoder": Row(autoencoder.reproduce_linear, dataset=digits),
    "conv_autoencoder": Row(
        conv_autoencoder.reproduce, SAMPLES | SHALLOW | {"codes": (4, 6)}, digits, {"conv_autoencoder.png": DECODED}
    ),
    "vae": Row(vae.reproduce, dataset=digits),
    "vae_dynamic": Row(binarized_vae.reproduce_dynamic, SAMPLES, digits),
    "vae_static": Row(binarized_vae.reproduce_static, SAMPLES, binary_digits),
    "iwae": Row(iwae.reproduce, SAMPLES | {"hidden": 20, "images": 50}, digits),
    "gaussian_vae": Row(vae.reproduce_gaussian, POINTS),
    "conv_vae": Row(conv_vae.reproduce, SAMPLES | SHALLOW, digits),
    "realnvp": Row(realnvp.reproduce, POINTS),
    "two_moons": Row(realnvp.reproduce_moons, POINTS | {"noises": (0.1, 0.2), "seeds": (0, 1)}),
    "nice": Row(nice.reproduce, {"epochs": 1, "hidden": (20,)}, byte_digits),
    "image_realnvp": Row(image_realnvp.reproduce, {"epochs": 1, "hidden": 4}, byte_digits, FLOW, save_flow),
    "gan": Row(gan.reproduce, SAMPLES, digits, watch=save_samples),
    "dcgan": Row(dcgan.reproduce, SAMPLES, digits, {"dcgan.png": SIXTY_FOUR}, save_samples),
    "dcgan_fashion": Row(dcgan.reproduce_fashion, SAMPLES, digits, {"dcgan_fashion.png": SIXTY_FOUR}, save_samples),
    "samples": Row(comparison.reproduce_samples, SAMPLES | SMALLER, digits),
}
STORED_BY_OTHERS = (
    "mutation",
    "fuzz",
    "kills",
    "interrupts",
)  # `make mutate`, benchmarks/: fuzz, kill_and_resume, interrupts


def main(arguments: Sequence[str] | None = None) -> None:
    parser = training.parser(__doc__, device="cpu")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"which numbers: {', '.join(ROWS)} (default: all)")
    parser.add_argument(
        "--again", action="store_true", help="measure anew what is stored, and begin anew what was stopped"
    )
    parser.add_argument("--report", action="store_true", help="train nothing: only rewrite docs/results.md")
    args = parser.parse_args(arguments)
    if unknown := set(args.rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    if not args.dry_run and not (Path(__file__).resolve().parents[1] / "pyproject.toml").is_file():
        parser.error(
            "the numbers are kept in a checkout of the project, and this is none; --dry-run shows what is done"
        )
    root = Path(args.out) / "dry_run" if args.dry_run else ROOT
    for name in [] if args.report else args.rows or ROWS:
        run(name, args, root / "results" / f"{name}.json")
    captions = {name: row.captions for name, row in ROWS.items() if not args.dry_run}
    write_report(root / "results", [*ROWS, *STORED_BY_OTHERS], root / "docs" / "results.md", captions)


def run(name: str, args: Any, file: Path) -> None:
    """Measure a row and store it in `file`, unless that has been done, and the row is not asked for by name."""
    options = arguments_of(name, args)
    folder = training.Run(f"{name}_dry_run" if args.dry_run else name, Path(args.out) / "reproduce").folder
    kept = folder / "kept"
    if args.again:
        forget(kept)
    unfinished = kept.is_dir() and any(kept.iterdir())
    if unfinished:
        print(f"{name}: going on with the run in {kept}; --again begins anew", flush=True)
    elif not args.rows and not args.again and (date := stored(file, command(name, args), options)):
        print(f"{name}: stored on {date}; --again measures anew")
        return
    else:
        print(f"{name}: training", flush=True)
    extra = {"keep": kept, "watch": ROWS[name].watch and ROWS[name].watch(name, folder, args.seed)}
    result = ROWS[name].measure(**options, **{key: value for key, value in extra.items() if takes(name, key)})
    stamp = {"command": command(name, args), "machine": machine(options.get("device", "cpu"))}
    result = dataclasses.replace(result, **stamp, more=tuple(dataclasses.replace(r, **stamp) for r in result.more))
    result.save(file)
    forget(kept)
    print(training.table([row(r) for r in result.rows()], list(row(result))))
    print(f"    {math.ceil(result.seconds)} s; " + "; ".join(f"{k}: {v}" for k, v in result.notes.items()) + "\n")


def forget(kept: Path) -> None:
    """Remove the state of a run, and its folder if nothing else is in it."""
    for pattern in ("*.safetensors", "*.safetensors.previous", "*metrics.jsonl"):
        for file in kept.glob(pattern):
            file.unlink()
    with suppress(OSError):
        kept.rmdir()


def arguments_of(name: str, args: Any) -> dict[str, Any]:
    """What the row's function is called with."""
    options: dict[str, Any] = {"seed": args.seed, "device": str(training.select_device(args.device))}
    options = {key: value for key, value in options.items() if takes(name, key)}
    if args.dry_run:
        dataset = ROWS[name].dataset
        options |= ROWS[name].small | ({"dataset": dataset()} if dataset else {})
    return options


def takes(name: str, argument: str) -> bool:
    """Whether the row's function has that argument, or hands all on to one that has."""
    parameters = inspect.signature(ROWS[name].measure).parameters.values()
    return any(p.name == argument or p.kind is p.VAR_KEYWORD for p in parameters)


def stored(file: Path, with_command: str, options: Mapping[str, Any]) -> str | None:
    """The date of the stored result, if the same command with the settings that the code has now gave it."""
    if not file.is_file():
        return None
    result = Result.load(file)
    now = {key: value for key, value in (defaults(file.stem) | options).items() if value is not None}
    then = [r.settings for r in result.rows()]
    same = all(plain(now[key]) in [s[key] for s in then if key in s] for key in now if any(key in s for s in then))
    return result.date if result.command == with_command and same else None


def defaults(name: str) -> dict[str, Any]:
    parameters = inspect.signature(ROWS[name].measure).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def plain(value: Any) -> Any:
    """As JSON has it."""
    return [plain(v) for v in value] if isinstance(value, list | tuple) else value


def command(name: str, args: Any) -> str:
    """The shortest command that measures this number again."""
    if args.seed == 0 and args.device == "cpu":
        return f"make reproduce ROW={name}"
    return f"python examples/reproduce.py {name} --seed {args.seed} --device {args.device}"


def machine(device: str) -> str:
    """What the number was measured on, as far as it matters for its last digits and its seconds."""
    return f"{platform.system()} {platform.machine()}, NumPy {np.__version__}, {device}"


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("stopped: the same command goes on from what was saved last", file=sys.stderr)
        sys.exit(130)
