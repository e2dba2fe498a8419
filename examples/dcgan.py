"""The game of two networks again, between players made of convolutions.

It shows what convolutions buy a forger, how far its images still are from real ones, and that directions in the space of
latents have a meaning.  Pictures, in runs/dcgan/:

    samples.png         images of 64 fixed latents after the last epoch
    progress.png        the images of ten of these latents after more and more epochs
    probabilities.png   the discriminator's mean D(x) on real and D(G(z)) on forged images, per round
    interpolation.png   straight lines through latent space: every point on them is an image
    arithmetic.png      bright a − dark a + dark c: the difference of two kinds of images, added to a third; needs labels

    python examples/dcgan.py --data digits           # half a minute, no download
    python examples/dcgan.py --data fashion --epochs 10
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from common import is_small, load

import tinygen as tg
from tinygen import data, evaluate, optim, plot, training
from tinygen.models import DCGAN
from tinygen.models.dcgan import arithmetic
from tinygen.models.judge import judge

parser = training.parser(__doc__, images=True, batch_size=100, lr=2e-4)
parser.add_argument("--latent", type=training.at_least(1), default=100, help="size of the latent space (default 100)")
args = parser.parse_args()
device = training.select_device(args.device)
train, test = load(args)
run = training.start("dcgan", args)
small = is_small(train)
epochs = args.epochs or (150 if small else 10)
tg.manual_seed(args.seed)

images = train.with_channels  # (n, channels, height, width)
channels = (64, 32) if small and max(images.shape[2:]) <= 28 else None  # None: as many layers as the size takes
model = DCGAN(args.latent, images.shape[1:], channels).to(device)
d_optimizer = optim.Adam(model.discriminator.parameters(), lr=args.lr, betas=(0.5, 0.999))
g_optimizer = optim.Adam(model.generator.parameters(), lr=args.lr, betas=(0.5, 0.999))
batch_size = min(args.batch_size, len(train))
loader = data.DataLoader(images, batch_size, shuffle=True, generator=args.seed, device=device, drop_last=True)
keeper = run.keeper(model=model, d_optimizer=d_optimizer, g_optimizer=g_optimizer)
rounds: list[dict[str, float]] = keeper.values.setdefault("rounds", [])
snapshots: dict[str, np.ndarray] = keeper.values.setdefault("snapshots", {})


def decode(z):
    with tg.no_grad():
        return model.decode(z).cpu().numpy()


fixed = model.latents(64)
snapshot_epochs = {round(epochs ** (i / 7)) for i in range(8)}  # 1, ..., epochs, evenly spaced in the logarithm
for epoch in keeper.epochs(epochs):
    for x in (bar := training.progress(keeper.batches(loader), f"epoch {epoch + 1}/{epochs}")):
        rounds.append(model.step(d_optimizer, g_optimizer, x))  # one step of D, one of G
        keeper.check(rounds[-1]["G loss"])
        keeper.log(**rounds[-1])
        bar.set("", **rounds[-1])
    if epoch + 1 in snapshot_epochs:
        snapshots[f"epoch {epoch + 1}"] = decode(fixed[:10])

# Pictures
plot.image_grid(decode(fixed), run.path("samples.png"), title=f"DCGAN after {epochs} epochs")
plot.rows(snapshots, run.path("progress.png"), title="the same ten latents")
path = model.interpolate(fixed[:6], fixed[6:12]).cpu().numpy()
plot.latent_walk(path, run.path("interpolation.png"), xlabel="straight lines between two latents")
plot.curves(
    {"D(x), real": [r["D(x)"] for r in rounds], "D(G(z)), forged": [r["D(G(z))"] for r in rounds]},
    run.path("probabilities.png"),
    xlabel="round",
    ylabel="mean probability of “real”",
    lines={"undecided": 0.5},
    smooth=max(1, len(rounds) // 100),
)
run.save_metrics(rounds=len(rounds), last_round=rounds[-1])


def judge_by_classes():
    """How far are its images from real ones, in the eyes of a classifier, does it draw every class, does it add up?"""
    judged = judge(train, test, device=device)  # the same for every run on these images
    classifier, distance, accuracy = judged.classifier, judged.distance, judged.accuracy
    classes = int(train.labels.max()) + 1
    tg.manual_seed(0)  # of what measures
    samples = model.sample(distance.n)
    unrelated = evaluate.independent_pixels(train.flat, distance.n, 0)
    shares, real_shares, trivial = (
        100 * evaluate.class_shares(x, classifier.predict, classes) for x in (samples, test.flat, unrelated)
    )
    headers = ("model", "metric", "unit", "value", "baseline: independent pixels", "floor or ceiling: real images")
    rows = [
        (
            "DCGAN",
            "Fréchet distance of samples",
            "squared features",
            distance(samples),
            distance(unrelated),
            distance.floor,
        ),
        ("DCGAN", "share of the rarest class", "%", shares.min(), trivial.min(), real_shares.min()),
    ]
    ruler = {
        "classifier": judged.checksum,
        "images": distance.n,
        "seed": 0,
        "baseline_is": "independent pixels",
    }
    for (_, metric, unit, value, baseline, floor), higher in zip(rows, (False, True), strict=True):
        levels = {"baseline": baseline, "floor": floor, "higher_is_better": higher}
        run.record(metric, unit, value, model=model, on=test, **levels, **ruler)
    run.save_metrics(
        frechet_distance=distance(samples), real_against_real=distance.floor, shares=shares, accuracy=accuracy
    )
    print(training.table(rows, headers))
    print(
        f"(in the eyes of a convolutional classifier with {accuracy:.1f} % test accuracy; lower, and higher, is better)"
    )
    add_up(classifier, classes)


def add_up(classifier, classes):
    """Arithmetic: what makes an image of class a bright, added to a dark image of class c; of ten classes at most."""
    mean = train.flat.mean(1)
    of_class = [mean[train.labels == c] for c in range(classes)]
    brightness = tg.tensor([float(pixels.mean()) if len(pixels) else 1.0 for pixels in of_class], device=device)

    def kind(x):
        """The class of an image, plus `classes` if it is brighter than the mean of its class."""
        label = classifier.predict(x)
        return label + classes * (x.mean((1, 2, 3)) > brightness[label]).long()

    triples = 2 if args.dry_run else 10  # for every class; each kind is the mean of three latents, as in the paper
    kinds, few = {}, range(min(classes, 10))
    for k in [c + bright for bright in (0, classes) for c in few]:
        with suppress(RuntimeError):  # a generator that has just begun, or has dropped a class
            kinds[k] = model.latents_of(k, 3 * triples, kind, tries=200 if args.dry_run else 3000).reshape(
                triples, 3, -1
            )
    complete = [c for c in few if c in kinds and c + classes in kinds]
    if rare := [c for c in few if c not in complete]:
        print(f"Left out of the arithmetic: classes that the generator draws too seldom, bright or dark: {rare}")
    columns: dict[str, list[np.ndarray]] = {"bright a": [], "− dark a": [], "+ dark c": [], "=": []}
    kept, change = [], []
    for a, c in zip(complete, complete[1:] + complete[:1], strict=True):
        parts = kinds[a + classes], kinds[a], kinds[c]
        before, after = tg.tensor(decode(parts[2].mean(1))), tg.tensor(decode(arithmetic(*parts)))
        kept.append((classifier.predict(after).cpu() == c).numpy().mean())
        change.append((after.mean() / before.mean()).item() - 1)
        for row, z in zip(columns.values(), (*(part.mean(1) for part in parts), arithmetic(*parts)), strict=True):
            row.append(decode(z[:1])[0])
    blank = np.zeros((1, *images.shape[1:]), np.float32)
    plot.rows(
        {name: np.stack(row) if row else blank for name, row in columns.items()},
        run.path("arithmetic.png"),
        title="each column: means of three latents, and their sum",
    )
    run.save_metrics(arithmetic_kept=kept, arithmetic_brighter=change)
    if complete:
        print(
            f"Arithmetic, {len(complete)} × {triples} sums: bright a − dark a + dark c is a c in {100 * np.mean(kept):.0f} % "
            f"(chance {100 / classes:.0f} %), and {100 * np.mean(change):.0f} % brighter than dark c."
        )


if train.labels is None:
    print("No labels: what a classifier says of the samples, and the arithmetic, are left out.")
else:
    judge_by_classes()
print(f"Pictures are in {run.folder}/")
