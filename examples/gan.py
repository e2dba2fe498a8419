"""Two networks play a game: one forges images, the other tells them from real ones, and both get better.

It shows the game round by round, what the discriminator believes, and what comes out.  Pictures, in runs/gan/:

    samples.png         images of 64 fixed latents after the last epoch
    progress.png        the images of eight of these latents after more and more epochs
    probabilities.png   the discriminator's mean D(x) on real and D(G(z)) on forged images, per round
    losses.png          both players' losses, per round
    interpolation.png   straight lines through latent space

At the beginning D tells them apart with ease; when it can no longer do so at all, both curves are at one half.

    python examples/gan.py --data digits         # a minute, no download
    python examples/gan.py --saturating          # the generator's original loss: watch it learn slowly
"""

from __future__ import annotations

import numpy as np
from common import as_images, between, is_small, load

import tinygen as tg
from tinygen import data, evaluate, optim, plot, training
from tinygen.models import GAN
from tinygen.models.judge import checksum_of, classifier_of

parser = training.parser(__doc__, images=True, batch_size=100, lr=2e-4)
parser.add_argument("--latent", type=training.at_least(1), default=100, help="size of the latent space (default 100)")
parser.add_argument(
    "--k", type=training.at_least(1), default=1, help="discriminator steps per generator step (default 1)"
)
parser.add_argument("--saturating", action="store_true", help="minimise log(1 − D(G(z))) instead of −log D(G(z))")
args = parser.parse_args()
device = training.select_device(args.device)
train, test = load(args)
run = training.start("gan", args)
epochs = args.epochs or (300 if is_small(train) else 40)
tg.manual_seed(args.seed)

hidden = (64, 128, 256) if is_small(train) else (256, 512, 1024)
model = GAN(args.latent, train.flat.shape[1], hidden, saturating=args.saturating).to(device)
d_optimizer = optim.Adam(model.discriminator.parameters(), lr=args.lr, betas=(0.5, 0.999))
g_optimizer = optim.Adam(model.generator.parameters(), lr=args.lr, betas=(0.5, 0.999))
in_a_round = min(args.k * args.batch_size, len(train))
loader = data.DataLoader(train.flat, in_a_round, shuffle=True, generator=args.seed, device=device, drop_last=True)
keeper = run.keeper(model=model, d_optimizer=d_optimizer, g_optimizer=g_optimizer)
rounds: list[dict[str, float]] = keeper.values.setdefault("rounds", [])
snapshots: dict[str, np.ndarray] = keeper.values.setdefault("snapshots", {})

fixed = model.latents(64)
snapshot_epochs = {round(epochs ** (i / 7)) for i in range(8)}  # 1, ..., epochs, evenly spaced in the logarithm
for epoch in keeper.epochs(epochs):
    for x in (bar := training.progress(keeper.batches(loader), f"epoch {epoch + 1}/{epochs}")):
        rounds.append(model.step(d_optimizer, g_optimizer, *x.chunk(args.k)))  # k steps of D, one of G
        keeper.check(rounds[-1]["G loss"])
        keeper.log(**rounds[-1])
        bar.set("", **rounds[-1])
    if epoch + 1 in snapshot_epochs:
        with tg.no_grad():
            snapshots[f"epoch {epoch + 1}"] = as_images(model.decode(fixed[:8]), test)

# Pictures
with tg.no_grad():
    plot.image_grid(as_images(model.decode(fixed), test), run.path("samples.png"), title=f"GAN after {epochs} epochs")
    path = between(fixed[:6], fixed[6:12])
    plot.latent_walk(
        as_images(model.decode(path), test),
        run.path("interpolation.png"),
        xlabel="straight lines between two latents",
    )
plot.rows(snapshots, run.path("progress.png"), title="the same eight latents")
smooth = max(1, len(rounds) // 100)
plot.curves(
    {"D(x), real": [r["D(x)"] for r in rounds], "D(G(z)), forged": [r["D(G(z))"] for r in rounds]},
    run.path("probabilities.png"),
    xlabel="round",
    ylabel="mean probability of “real”",
    lines={"undecided": 0.5},
    smooth=smooth,
)
plot.curves(
    {"discriminator": [r["D loss"] for r in rounds], "generator": [r["G loss"] for r in rounds]},
    run.path("losses.png"),
    xlabel="round",
    ylabel="loss, nats",
    lines={"D undecided": np.log(4)},
    smooth=smooth,
)

# Does it draw every class?  A classifier counts.
run.save_metrics(rounds=len(rounds), last_round=rounds[-1])
if train.labels is None:
    print("No labels: the shares of the classes among the samples, which a classifier would count, are left out.")
else:
    classifier = classifier_of(train, device)  # the same for every run on these images
    classes = int(train.labels.max()) + 1
    tg.manual_seed(0)  # of what measures
    images = model.sample(1000 if args.dry_run else 10_000)
    unrelated = evaluate.independent_pixels(train.flat, 1000, 0)
    shares, real_shares, trivial = (
        100 * evaluate.class_shares(x, classifier.predict, classes) for x in (images, test.flat, unrelated)
    )
    run.save_metrics(shares=shares, accuracy=classifier.accuracy(test))
    ruler = {"classifier": checksum_of(classifier), "images": len(images), "higher_is_better": True, "seed": 0}
    levels = {"baseline": trivial.min(), "baseline_is": "independent pixels", "floor": real_shares.min()}
    run.record("share of the rarest class", "%", shares.min(), model=model, on=test, **levels, **ruler)
    headers = ("model", "metric", "unit", "value", "baseline: independent pixels", "ceiling: test images")
    row = ("GAN", "share of the rarest class", "%", shares.min(), trivial.min(), real_shares.min())
    print(training.table([row], headers))
    print(f"Shares of the classes in %: {', '.join(f'{s:.1f}' for s in shares)}")
    print(f"(counted by a classifier with {classifier.accuracy(test):.1f} % test accuracy)")
print(f"Pictures are in {run.folder}/")
