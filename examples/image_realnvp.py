"""RealNVP on images: an exact density of 8-bit pixels, by couplings of convolutions at several scales.

The number to look at is bits/dim: how many bits a pixel costs if this model encodes the images.  Independent pixels, each
with its own histogram, are the baseline to beat: 1.69 on MNIST.  Pictures, in runs/image_realnvp/:

    loss.png       bits/dim of test images over the epochs, beside independent pixels
    samples.png    images of 64 latents z ~ N(0, I)
    scales.png     test images, again with other noise where the first scale ends, where all but the last end, everywhere
    manifold.png   the images on the surface through the codes of four test images (in the corner), which is a torus

    python examples/image_realnvp.py --data digits               # two minutes, no download
    python examples/image_realnvp.py --hidden 32 --epochs 6      # as in docs/results.md; most of an hour
    python examples/image_realnvp.py --glow                      # learned 1×1 convolutions between the couplings

Source: Dinh, Sohl-Dickstein, Bengio 2016; Fleuret, EE-559, lecture 9 (deck D4).
"""

from __future__ import annotations

import math

import numpy as np
from common import is_small, load

import tinygen as tg
from tinygen import data, evaluate, nn, optim, plot, training
from tinygen.models import Glow, ImageRealNVP
from tinygen.models.flow import mean_bits_per_dim

parser = training.parser(__doc__, images=True, batch_size=32, lr=2e-3)
parser.add_argument(
    "--hidden", type=training.at_least(1), default=16, help="channels of the couplings' networks (default 16)"
)
parser.add_argument(
    "--scales", type=training.at_least(1), default=2, help="how often the image is squeezed (default 2)"
)
parser.add_argument("--glow", action="store_true", help="Glow's steps instead of alternating masks")
args = parser.parse_args()
device = training.select_device(args.device)
train, test = load(args, fits=lambda side: side % 2**args.scales == 0)
run = training.start("image_realnvp", args)
hidden, epochs = (4 if args.dry_run else args.hidden), args.epochs or (60 if is_small(train) else 3)
x_train, x_test = train.with_channels, test.with_channels  # (n, channels, height, width)
levels = data.grey_levels(np.concatenate([x_train, x_test]))  # pixels are k / (levels - 1)
if levels is None:
    levels, x_train, x_test = 256, (255 * x_train).round() / 255, (255 * x_test).round() / 255
    print("The pixels are not those of 8-bit images, and are rounded to such.")
tg.manual_seed(args.seed)

kind = Glow if args.glow else ImageRealNVP
model = kind(x_train.shape[1:], args.scales, hidden=hidden, levels=levels).to(device)
optimizer = optim.Adam(model.parameters(), lr=args.lr)
loader = data.DataLoader(x_train, args.batch_size, shuffle=True, generator=args.seed, device=device)
schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * len(loader))
keeper = run.keeper({"epochs": epochs}, model=model, optimizer=optimizer, schedule=schedule)
losses = keeper.values.setdefault("losses", [])

for epoch in keeper.epochs(epochs):
    for x in (bar := training.progress(keeper.batches(loader), f"epoch {epoch + 1}/{epochs}")):
        optimizer.zero_grad()
        loss = model.loss(x)  # −log p(v) of the dequantised images v: of all of their pixels, in nats
        keeper.check(loss)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 100.0)  # few steps are that long, early on
        optimizer.step()
        schedule.step()
        bits = evaluate.bits_per_dim(loss.item(), math.prod(model.image), levels)
        keeper.log(loss=bits)
        bar.set("bits/dim", loss=bits)
    losses.append(mean_bits_per_dim(model, x_test))
    keeper.log(test_loss=losses[-1])
model.eval()

# Pictures
independent = evaluate.histogram_bits(x_train.reshape(len(x_train), -1), x_test.reshape(len(x_test), -1), levels=levels)
plot.curves(
    {type(model).__name__: losses},
    run.path("loss.png"),
    xlabel="epoch",
    ylabel="test bits per pixel",
    lines={"independent pixels": independent},
)
title = f"{epochs} epochs: samples"
plot.image_grid(model.sample(64).cpu().numpy(), run.path("samples.png"), title=title)

x = tg.tensor(x_test[:8], device=device)
with tg.no_grad():
    z, noise = model.encode(x), model.latents(8)
dims = z.shape[1]


def redrawn(share):
    """x with the last numbers of z redrawn: the first to leave the flow, which are the details."""
    kept = dims - int(share * dims)
    with tg.no_grad():
        return model.decode(tg.cat([z[:, :kept], noise[:, kept:]], 1)).cpu().numpy()


shares = [1 - 0.5**k for k in range(1, args.scales + 1)] + [1.0]  # half of what a scale has worked on is done
plot.rows(
    {"test images": x_test[:8]}
    | {f"{share:.0%} redrawn" if share < 1 else "all redrawn": redrawn(share) for share in shares},
    run.path("scales.png"),
)

surface = model.manifold(tg.tensor(x_test[:4], device=device), 8)
plot.image_grid(surface.flatten(0, 1).cpu().numpy(), run.path("manifold.png"), ncols=8)

run.save_metrics(test_bits_per_dim=losses, independent_pixels=independent, seconds=keeper.seconds)
levels = {"baseline": independent, "baseline_is": "independent pixels", "floor": 0.0}
run.record("test −log₂ p(x)", "bits per pixel", losses[-1], model=model, on=(test.name, x_test), **levels)
headers = ("model", "metric", "unit", "value", "baseline: independent pixels", "floor")
print(
    training.table([(type(model).__name__, "test −log₂ p(x)", "bits per pixel", losses[-1], independent, 0)], headers)
)
print(f"Trained for {keeper.seconds:.0f} s.  Pictures are in {run.folder}/")
