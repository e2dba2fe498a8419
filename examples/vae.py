"""A variational autoencoder learns a density over images, so that it can be asked for new ones.

It shows the two parts of the loss, samples from the prior, and a latent space without holes.  Pictures, in runs/vae/:

    loss.png              −ELBO on the test images, beside its floor and the model of independent pixels
    reconstructions.png   test images and their reconstructions, beside PCA with as many numbers
    samples.png           the decoder's pictures of 64 random latents z ~ N(0, I)
    interpolation.png     from one image to another in a straight line through latent space
    walk.png              one latent at a time from −3 to 3; those that the model has no use for change nothing
    manifold.png          the whole plane of latents (only with --latent 2)

At the end, what the model knows about test images, in nats: −ELBO, and the closer bound −L_50 (`evaluate.bounds`).

    python examples/vae.py --data digits          # half a minute, no download
    python examples/vae.py --latent 2             # a plane that can be drawn completely
    python examples/vae.py --binarize dynamic     # pixels drawn anew for each use: likelihoods that compare with papers'
"""

from __future__ import annotations

import numpy as np
from common import as_images, between, is_small, load, to_show

import tinygen as tg
from tinygen import data, evaluate, optim, plot, training
from tinygen.models import BernoulliVAE
from tinygen.models.vae import kl_to_standard_normal

parser = training.parser(__doc__, images=True, batch_size=128, lr=1e-3)
parser.add_argument("--latent", type=training.at_least(1), default=10, help="size of the latent space (default 10)")
parser.add_argument(
    "--binarize",
    choices=("grey", "threshold", "dynamic"),
    default="grey",
    help="how pixels become 0 or 1 (default: grey)",
)
args = parser.parse_args()
device = training.select_device(args.device)
train, test = load(args)
run = training.start("vae", args)
epochs = args.epochs or (200 if is_small(train) else 10)
tg.manual_seed(args.seed)

# Grey pixels serve as probabilities; the numbers of the three ways do not compare with each other
x_train, x_test = train.flat, test.flat
if args.binarize == "threshold":
    x_train, x_test = data.binarize.threshold(x_train), data.binarize.threshold(x_test)
floor = evaluate.bernoulli_entropy(x_test)
images = x_train
if args.binarize == "dynamic":
    images, x_test = data.DynamicBinarization(x_train, args.seed), data.binarize.dynamic(x_test, args.seed)
independent = evaluate.bernoulli_nll(x_train, x_test)
x_test = tg.as_tensor(x_test, device=device)

model = BernoulliVAE(train.flat.shape[1], 400, args.latent).to(device)
optimizer = optim.Adam(model.parameters(), lr=args.lr)
loader = data.DataLoader(images, args.batch_size, shuffle=True, generator=args.seed, device=device)
keeper = run.keeper(model=model, optimizer=optimizer)
losses, kls = (keeper.values.setdefault(name, []) for name in ("losses", "kls"))

for epoch in keeper.epochs(epochs):
    model.train()
    for x in (bar := training.progress(keeper.batches(loader), f"epoch {epoch + 1}/{epochs}")):
        optimizer.zero_grad()
        loss = model.loss(x)  # −ELBO = cross-entropy of the pixels + KL(q(z|x) ‖ N(0, I)), per image
        keeper.check(loss)
        loss.backward()
        optimizer.step()
        keeper.log(loss=loss.item())
        bar.set("nats", loss=loss.item())
    model.eval()
    with tg.no_grad():
        losses.append(model.loss(x_test).item())
        kls.append(kl_to_standard_normal(*model.encode(x_test)).mean().item())
    keeper.log(test_loss=losses[-1], kl=kls[-1])

bounds = evaluate.importance_weighted_bounds(model, x_test, (1, 50), 0)  # the seed that measures is always the same

# Pictures
plot.curves(
    {"−ELBO": losses, "of which KL": kls},
    run.path("loss.png"),
    xlabel="epoch",
    ylabel="nats per test image",
    lines={"independent pixels": independent, "floor": floor},
)
x = x_test[to_show(test, 12)]
pca = evaluate.PCA.fit(train.flat, args.latent)
plot.rows(
    {
        "original": as_images(x, test),
        "VAE": as_images(model.reconstruct(x), test),
        "PCA": as_images(pca.reconstruct(x), test),
    },
    run.path("reconstructions.png"),
    title=f"{args.latent} latents per image",
)
plot.image_grid(as_images(model.sample(64), test), run.path("samples.png"), title="64 samples, z ~ N(0, I)")
with tg.no_grad():
    mu, _ = model.encode(x_test[to_show(test)])
    path = between(mu[:5], mu[5:])
    plot.latent_walk(
        as_images(model.mean(path.reshape(-1, args.latent)).reshape(*path.shape[:2], -1), test),
        run.path("interpolation.png"),
        values=np.linspace(0, 1, path.shape[1]).round(1).tolist(),
        xlabel="place on the straight line between two latents",
    )
    steps = np.arange(-3.0, 4.0)
    walk = mu[:1].repeat(args.latent * len(steps), 1).reshape(args.latent, len(steps), args.latent)
    for j in range(args.latent):
        walk[j, :, j] = tg.tensor(steps.astype(np.float32), device=device)
    plot.latent_walk(
        as_images(model.mean(walk.reshape(-1, args.latent)).reshape(args.latent, len(steps), -1), test),
        run.path("walk.png"),
        values=[f"{s:.0f}" for s in steps],
        labels=[f"$z_{{{j + 1}}}$" for j in range(args.latent)],
        xlabel="value of one latent, the others as encoded",
        cell=0.45,
    )
    if args.latent == 2:
        side = np.linspace(-2.5, 2.5, 20, dtype=np.float32)
        plane = np.stack(np.meshgrid(side, side[::-1]), axis=-1)
        images = model.mean(tg.tensor(plane.reshape(-1, 2), device=device)).reshape(20, 20, -1)
        plot.manifold(as_images(images, test), run.path("manifold.png"), x=side.tolist(), y=side[::-1].tolist())

bounds = {f"−{'ELBO' if k == 1 else f'L_{k}'}": (-bound.value, bound.error) for k, bound in bounds.items()}
run.save_metrics(test_loss=losses, kl=kls, floor=floor, independent_pixels=independent, bounds=bounds)
name = test.name if args.binarize == "grey" else f"{test.name}, {args.binarize}"
levels = {"baseline": independent, "baseline_is": "independent pixels", "floor": floor, "seed": 0}
for metric, (value, _) in zip(("test −ELBO", "test −L₅₀, a closer bound"), bounds.values(), strict=True):
    run.record(metric, "nats per image", value, model=model, on=(name, x_test), **levels)
headers = ("test images", "nats per image", "standard error", "baseline: independent pixels", "floor")
print(training.table([(name, *numbers, independent, floor) for name, numbers in bounds.items()], headers))
print(f"Pictures are in {run.folder}/")
