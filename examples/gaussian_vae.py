"""A VAE with a Gaussian decoder learns two moons: the lecture's toy.

It shows a decoder that learns its own variance, and how close a bound comes to the true likelihood.  Pictures, in
runs/gaussian_vae/:

    moons.png    the data, samples of the VAE, its density, the true density
    loss.png     −ELBO and a closer bound on −log p(x) over the epochs, between the floor and a Gaussian
    latent.png   the means of q(z|x) for both moons: the prior N(0, I) has to be filled without gaps

    python examples/gaussian_vae.py                                                            # half a minute
    python examples/gaussian_vae.py --points 250 --epochs 500 --batch-size 10 --lr 0.01        # the deck's settings
"""

from __future__ import annotations

import math

from common import density_from_prior, nearer_moon

import tinygen as tg
from tinygen import data, evaluate, optim, plot, training
from tinygen.models import GaussianVAE

parser = training.parser(__doc__, epochs=200, batch_size=20, lr=5e-3)
parser.add_argument("--points", type=training.at_least(2), default=2000, help="training points (default 2000)")
parser.add_argument("--noise", type=training.positive, default=0.1, help="noise of the moons (default 0.1)")
args = parser.parse_args()
device = training.select_device(args.device)
run = training.start("gaussian_vae", args)
epochs = 2 if args.dry_run else args.epochs
tg.manual_seed(args.seed)

train = data.two_moons(args.points, args.noise, generator=0)  # whatever the seed: runs compare
test = data.two_moons(2000, args.noise, generator=1)
mean, scale = train.mean(axis=0), train.std()  # one scale for both coordinates, as in the deck
log_scale = 2 * math.log(scale)  # nats per point between the standardised data and the original ones

model = GaussianVAE(2, 100, 2).to(device)
optimizer = optim.Adam(model.parameters(), lr=args.lr)
schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
loader = data.DataLoader((train - mean) / scale, args.batch_size, shuffle=True, generator=args.seed, device=device)

x_test = tg.as_tensor((test - mean) / scale, device=device)
every = max(1, epochs // 50)
keeper = run.keeper({"epochs": epochs}, model=model, optimizer=optimizer, schedule=schedule)
at, bounds, closer = (keeper.values.setdefault(name, []) for name in ("at", "bounds", "closer"))
for epoch in (bar := training.progress(keeper.epochs(epochs), "Gaussian VAE")):
    for x in keeper.batches(loader):
        optimizer.zero_grad()
        loss = model.loss(x)  # −ELBO = −log N(x; μ(z), σ²(z)) + KL(q(z|x) ‖ N(0, I))
        keeper.check(loss)
        loss.backward()
        optimizer.step()
    schedule.step()
    if (epoch + 1) % every == 0 or epoch + 1 == epochs:
        with tg.no_grad():
            at.append(epoch + 1)
            bounds.append(log_scale + model.loss(x_test).item())
            closer.append(log_scale - model.log_prob(x_test, samples=50).mean().item())
        keeper.log(loss=log_scale + loss.item(), test_bound=bounds[-1], test_nll=closer[-1])
        bar.set("nats per point", test_bound=bounds[-1])

floor = data.two_moons_entropy(args.noise)
gaussian = evaluate.gaussian_nll(train, test)


def log_density(points):
    return density_from_prior(model, tg.as_tensor((points - mean) / scale, device=device)) - log_scale


# Pictures
plot.panels2d(
    {
        "data": train,
        "samples of the VAE": model.sample(2000).cpu().numpy() * scale + mean,
        "density of the VAE": log_density,
        "true density": lambda points: data.two_moons_log_prob(points, args.noise),
    },
    run.path("moons.png"),
    limits=(-1.6, 2.6, -1.2, 1.7),
    resolution=100,
)
plot.curves(
    {"−ELBO": (at, bounds), "importance sampling": (at, closer)},
    run.path("loss.png"),
    xlabel="epoch",
    ylabel="nats per test point",
    lines={"Gaussian": gaussian, "floor": floor},
)
with tg.no_grad():
    mu, _ = model.encode(x_test)
plot.scatter2d(mu.cpu().numpy(), run.path("latent.png"), labels=nearer_moon(test), title="means of q(z|x), by moon")

run.save_metrics(epochs=at, test_bound=bounds, test_nll=closer, floor=floor, gaussian=gaussian)
final = evaluate.importance_weighted_bounds(model, x_test, (1, 50), 0)  # the seed that measures is always the same
names = ("test −ELBO", "test −log p(x), bound by 50 draws")
rows = [
    ("Gaussian VAE", name, "nats per point", log_scale - bound.value, gaussian, floor)
    for name, bound in zip(names, final.values(), strict=True)
]
levels = {"baseline": gaussian, "baseline_is": "a Gaussian", "floor": floor, "seed": 0}
for _, metric, unit, value, *_ in rows:
    run.record(metric, unit, value, model=model, on=(f"two moons, noise {args.noise:g}", test), **levels)
print(training.table(rows, ("model", "metric", "unit", "value", "baseline: Gaussian", "floor: entropy")))
print(f"Pictures are in {run.folder}/")
