"""The four models of the course, each trained in seconds on real handwritten digits (8×8 pixels) or on two moons.

    make demo

Nothing is downloaded.  One picture per model is written to runs/demo/, and a table says how good each model is, beside a
trivial model (the baseline, to be beaten) and the best possible value (the floor).  The examples next to this file take
each model further and train it on MNIST.
"""

from __future__ import annotations

import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # networks as small as these are slower on several cores

import numpy as np
from common import density_from_prior

import tinygen as tg
from tinygen import data, evaluate, nn, optim, plot, training
from tinygen.models import GAN, Autoencoder, BernoulliVAE, GaussianVAE, RealNVP
from tinygen.models.classifier import train_classifier

HEADERS = ("model", "metric", "unit", "value", "baseline", "floor")

args = training.parser(__doc__, device="cpu").parse_args()
device = training.select_device(args.device)
run = training.Run("demo", args.out)
start = time.perf_counter()
rows = []


def fit(name, model, x, epochs, unit, batch_size=100, lr=2e-3):
    """The training loop of every model here but the GAN: x are the samples as rows, `model.loss` says what to minimise."""
    epochs = 2 if args.dry_run else epochs
    model.to(device)
    optimizer = optim.Adam(model.parameters(), lr=lr)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    loader = data.DataLoader(x, batch_size, shuffle=True, generator=args.seed, device=device)
    for _ in (bar := training.progress(range(epochs), f"{name:<12}")):
        total = 0.0
        for batch in loader:
            optimizer.zero_grad()
            loss = model.loss(batch)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        schedule.step()
        bar.set(unit, loss=total / len(x))
    model.eval()


def numpy(tensor):
    return tensor.detach().cpu().numpy()


def images(x):
    return numpy(x).reshape(-1, 8, 8)


train, test = data.digits()
x_test = tg.tensor(test.flat, device=device)
shown = slice(0, 16)
print(f"{train}, {len(test)} for testing\n")

# --- autoencoder: squeeze an image through ten numbers
tg.manual_seed(args.seed)
model = Autoencoder((64, 128, 10), code_activation=nn.Identity())
fit("autoencoder", model, train.flat, 250, "grey levels² per image")
pca = evaluate.PCA.fit(train.flat, 10)
pca_error, error = (evaluate.squared_error(m.reconstruct, x) for m, x in ((pca, test.flat), (model, x_test)))
rows.append(("autoencoder, code 10", "test squared error", "grey levels² per image", error, pca_error, 0.0))
plot.rows(
    {
        "original": test.images[shown],
        "autoencoder": images(model.reconstruct(x_test[shown])),
        "PCA": pca.reconstruct(test.flat[shown]).reshape(-1, 8, 8),
    },
    run.path("autoencoder.png"),
    title=f"Test images drawn again from 10 numbers: error {error:.2f}, PCA {pca_error:.2f}",
)

# --- VAE: a density over images
tg.manual_seed(args.seed)
model = BernoulliVAE(64, 128, 10)
fit("VAE", model, train.flat, 200, "nats per image")
with tg.no_grad():
    bound = model.loss(x_test).item()
baseline, floor = evaluate.bernoulli_nll(train.flat, test.flat), evaluate.bernoulli_entropy(test.flat)
rows.append(("VAE, 10 latents", "test −ELBO", "nats per image", bound, baseline, floor))
plot.image_grid(images(model.sample(64)), run.path("vae.png"), title="VAE: 64 samples")

# --- GAN: two networks against each other
tg.manual_seed(args.seed)
gan = GAN(latent=32, size=64, hidden=(64, 128, 256)).to(device)
d_optimizer = optim.Adam(gan.discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
g_optimizer = optim.Adam(gan.generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
loader = data.DataLoader(train.flat, 50, shuffle=True, generator=args.seed, device=device, drop_last=True)
for _ in (bar := training.progress(range(2 if args.dry_run else 250), f"{'GAN':<12}")):
    for real in loader:
        seen = gan.step(d_optimizer, g_optimizer, real)
    bar.set(**seen)
classifier = train_classifier(train, 128, epochs=40, seed=args.seed, device=str(device))
samples = gan.sample(5000)
shares, real_shares, trivial = (
    100 * evaluate.class_shares(x, classifier.predict)
    for x in (samples, x_test, evaluate.independent_pixels(train.flat, 5000, args.seed))
)
rows.append(("GAN", "share of the rarest digit", "%", shares.min(), trivial.min(), real_shares.min()))
plot.image_grid(images(samples[:64]), run.path("gan.png"), title="GAN: 64 samples")

# --- two moons: models whose density can be compared with the truth
moons, moons_test = (data.two_moons(4000, generator=args.seed + i) for i in (0, 1))
mean, scale = moons.mean(axis=0), moons.std()
units = 2 * np.log(scale)  # nats per point from the standardised points to the moons themselves
entropy, gaussian = data.two_moons_entropy(), evaluate.gaussian_nll(moons, moons_test)


def standardise(points):
    return tg.tensor(((points - mean) / scale).astype(np.float32), device=device)


def show(name, file, log_density):
    panels = {
        "data": moons[:2000],
        f"samples of the {name}": numpy(model.sample(2000)) * scale + mean,
        f"density of the {name}": lambda points: log_density(standardise(points)) - units,
        "true density": data.two_moons_log_prob,
    }
    plot.panels2d(panels, run.path(file), limits=(-1.6, 2.6, -1.2, 1.7), resolution=100)


# --- RealNVP: an invertible map from data to noise, with the exact density
tg.manual_seed(args.seed)
model = RealNVP(dim=2, hidden=32, depth=8)
fit("RealNVP", model, standardise(moons), 100, "nats, standardised", lr=5e-3)
with tg.no_grad():
    nll = units - model.log_prob(standardise(moons_test)).mean().item()
    rows.append(("RealNVP", "test −log p(x)", "nats per point", nll, gaussian, entropy))
    show("RealNVP", "realnvp.png", lambda u: numpy(model.log_prob(u)))

# --- Gaussian VAE: a decoder that says where a point is, and how sure it is
tg.manual_seed(args.seed)
model = GaussianVAE(size=2, hidden=100, latent=2)
fit("Gaussian VAE", model, standardise(moons), 100, "nats, standardised", batch_size=50, lr=5e-3)
with tg.no_grad():
    nll = units - model.log_prob(standardise(moons_test), samples=100).mean().item()
    rows.append(("Gaussian VAE", "test −log p(x), bound", "nats per point", nll, gaussian, entropy))
    show("Gaussian VAE", "gaussian_vae.png", lambda u: density_from_prior(model, u))

print(f"\n{training.table(rows, HEADERS)}\n")
print("Lower is better, except for the share of the rarest digit, whose “floor” is that of the real test images.")
print("Baselines: PCA; independent pixels; independent pixels; a Gaussian with full covariance (twice).")
print(f"{time.perf_counter() - start:.0f} s.  Pictures: {', '.join(str(p) for p in sorted(run.folder.glob('*.png')))}")
