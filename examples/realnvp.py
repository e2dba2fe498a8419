"""A normalising flow bends a Gaussian into two moons, invertibly, so it knows the exact density of every point.

It shows a model whose likelihood can be held against the truth, since the density of the moons is known.  Pictures, in
runs/realnvp/:

    moons.png    the data, the flow's samples, the flow's density, the true density
    loss.png     the negative log-likelihood of new points over the epochs, between its floor and a Gaussian's
    layers.png   what each pair of coupling layers does to the data, on its way to the noise
    layers.gif   the same, moving: each layer pushes the points along one axis, by what it reads off the other
    latent.png   where the two moons arrive: what is left for a Gaussian to explain

    python examples/realnvp.py                      # a minute
    python examples/realnvp.py --hidden 2 --depth 4 --lr 0.01   # the deck's small network: not enough
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from common import nearer_moon
from matplotlib.patches import Circle

import tinygen as tg
from tinygen import data, evaluate, optim, plot, training
from tinygen.models import RealNVP
from tinygen.plot.figure import COLORS

parser = training.parser(__doc__, epochs=100, batch_size=100, lr=5e-3)
parser.add_argument(
    "--hidden", type=training.at_least(1), default=32, help="hidden units of each coupling's networks (default 32)"
)
parser.add_argument("--depth", type=training.at_least(2), default=8, help="number of coupling layers (default 8)")
parser.add_argument("--noise", type=training.positive, default=0.1, help="noise of the moons (default 0.1)")
args = parser.parse_args()
device = training.select_device(args.device)
run = training.start("realnvp", args)
n, epochs = (300, 2) if args.dry_run else (5000, args.epochs)
tg.manual_seed(args.seed)

train, test = (data.two_moons(n, args.noise, generator=i) for i in (0, 1))  # whatever the seed: runs compare
model = RealNVP(2, args.hidden, args.depth).to(device)
optimizer = optim.Adam(model.parameters(), lr=args.lr)
loader = data.DataLoader(train, args.batch_size, shuffle=True, generator=args.seed, device=device)
schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)

x_test = tg.as_tensor(test, device=device)
keeper = run.keeper({"epochs": epochs}, model=model, optimizer=optimizer, schedule=schedule)
losses = keeper.values.setdefault("losses", [])
for _ in (bar := training.progress(keeper.epochs(epochs), "RealNVP")):
    for x in keeper.batches(loader):
        optimizer.zero_grad()
        loss = model.loss(x)  # −log p(x) = −log N(z; 0, I) − log|det ∂z/∂x|, averaged over the batch
        keeper.check(loss)
        loss.backward()
        optimizer.step()
    schedule.step()
    with tg.no_grad():
        losses.append(model.loss(x_test).item())
    keeper.log(loss=loss.item(), test_loss=losses[-1])
    bar.set("nats per point", test=losses[-1])

floor = data.two_moons_entropy(args.noise)
gaussian = evaluate.gaussian_nll(train, test)


def log_density(points):
    with tg.no_grad():
        return model.log_prob(tg.as_tensor(points, device=device)).cpu().numpy()


# Pictures
plot.panels2d(
    {
        "data": train[:2000],
        "samples of the flow": model.sample(2000).cpu().numpy(),
        "density of the flow": log_density,
        "true density": lambda points: data.two_moons_log_prob(points, args.noise),
    },
    run.path("moons.png"),
    limits=(-1.6, 2.6, -1.2, 1.7),
)
plot.curves(
    {"RealNVP": losses},
    run.path("loss.png"),
    xlabel="epoch",
    ylabel="nats per test point",
    lines={"Gaussian": gaussian, "floor": floor},
)
with tg.no_grad():
    stages = [x_test[:2000]]
    for layer in model.transform:
        stages.append(layer(stages[-1])[0])
path = [y.cpu().numpy() for y in stages]
plot.panels2d({f"after {i} layers" if i else "data": path[i] for i in range(0, len(path), 2)}, run.path("layers.png"))
moons = nearer_moon(test)
plot.scatter2d(
    model.encode(x_test).detach().cpu().numpy(),
    run.path("latent.png"),
    labels=moons,
    title="where the points of both moons arrive",
)

# The animation: every layer moves the points on straight lines, slowly at both ends; the circles are those of N(0, I)
colors = np.where(moons[:2000] == "upper", *COLORS[:2])
low, high = np.quantile(np.concatenate(path), [0.001, 0.999], axis=0)
centre, edge = (low + high) / 2, 0.55 * max(high - low)


def frame(points, name):
    def draw(axes):
        for radius in (1, 2, 3):
            axes.add_patch(Circle((0, 0), radius, fill=False, color="0.85"))
        axes.scatter(*points.T, s=3, c=colors, linewidths=0)
        (x, y), around = centre, np.array([-edge, edge])
        axes.set(xlim=x + around, ylim=y + around, aspect="equal", title=name)

    return draw


steps = [frame(path[0], "data")] * 8
for i, (before, after) in enumerate(pairwise(path), 1):
    for t in np.linspace(0.125, 1, 8):
        part = np.sin(np.pi * t / 2) ** 2
        steps.append(frame((1 - part) * before + part * after, f"layer {i} of {len(path) - 1}"))
plot.animation(steps, run.path("layers.gif"), fps=10, hold=2)

run.save_metrics(test_nll=losses, floor=floor, gaussian=gaussian)
moons, levels = f"two moons, noise {args.noise:g}", {"baseline": gaussian, "baseline_is": "a Gaussian", "floor": floor}
run.record("test −log p(x)", "nats per point", losses[-1], model=model, on=(moons, test), **levels)
headers = ("model", "metric", "unit", "value", "baseline: Gaussian", "floor: entropy")
print(training.table([("RealNVP", "test −log p(x)", "nats per point", losses[-1], gaussian, floor)], headers))
print(f"Pictures are in {run.folder}/")
