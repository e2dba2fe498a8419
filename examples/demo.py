"""The models of the course, each trained in seconds on real handwritten digits (8×8 pixels) or on two moons.

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
from tinygen.models import DCGAN, GAN, Autoencoder, BernoulliVAE, ConvAutoencoder, GaussianVAE, RealNVP
from tinygen.models.judge import judge

HEADERS = ("model", "metric", "unit", "value", "baseline", "floor")

args = training.parser(__doc__, device="cpu").parse_args()
device = training.select_device(args.device)
run = training.start("demo", args)
start = time.perf_counter()
rows = []


def fit(name, model, x, epochs, unit, batch_size=100, lr=2e-3):
    """The training loop of every model here but the GANs: x are the samples, `model.loss` says what to minimise."""
    epochs = 2 if args.dry_run else epochs
    model.to(device)
    optimizer = optim.Adam(model.parameters(), lr=lr)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    loader = data.DataLoader(x, batch_size, shuffle=True, generator=args.seed, device=device)
    for _ in (bar := training.progress(range(epochs), f"{name:<16}")):
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


def play(name, gan, x, epochs, batch_size):
    """The training loop of the GANs: in every step one move of each player."""
    d_optimizer = optim.Adam(gan.discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    g_optimizer = optim.Adam(gan.generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    loader = data.DataLoader(x, batch_size, shuffle=True, generator=args.seed, device=device, drop_last=True)
    for _ in (bar := training.progress(range(2 if args.dry_run else epochs), f"{name:<16}")):
        for real in loader:
            seen = gan.step(d_optimizer, g_optimizer, real)
        bar.set(**seen)


def numpy(tensor):
    return tensor.detach().cpu().numpy()


def images(x):
    return numpy(x).reshape(-1, 8, 8)


train, test = data.digits()
x_test = tg.tensor(test.flat, device=device)
shown = slice(0, 16)
print(f"{train}, {len(test)} for testing\n")

# --- autoencoders: squeeze an image through ten numbers, with dense layers and with convolutions
tg.manual_seed(args.seed)
dense = Autoencoder((64, 128, 10), code_activation=nn.Identity())
fit("autoencoder", dense, train.flat, 250, "grey levels² per image")
tg.manual_seed(args.seed)
conv = ConvAutoencoder(10, (1, 8, 8), layers=((32, 3, 1), (64, 4, 2)))  # 8×8 → 6×6 → 2×2 → a code, and back
fit("conv autoencoder", conv, train.images[:, None], 100, "grey levels² per pixel", batch_size=50, lr=4e-3)
pca = evaluate.PCA.fit(train.flat, 10)
answers = {"autoencoder": dense.reconstruct(x_test), "conv autoencoder": conv.reconstruct(x_test.reshape(-1, 1, 8, 8))}
answers = {name: images(x) for name, x in answers.items()} | {"PCA": pca.reconstruct(test.flat).reshape(-1, 8, 8)}
errors = {name: np.square(x - test.images).sum((1, 2)).mean() for name, x in answers.items()}
for name in ("autoencoder", "conv autoencoder"):
    rows.append((f"{name}, code 10", "test squared error", "grey levels² per image", errors[name], errors["PCA"], 0.0))
plot.rows(
    {"original": test.images[shown], **{name: x[shown] for name, x in answers.items()}},
    run.path("autoencoder.png"),
    title="Test images drawn again from 10 numbers: error " + ", ".join(f"{n} {e:.2f}" for n, e in errors.items()),
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

# --- GANs: two networks against each other, both of dense layers, then both of convolutions
tg.manual_seed(args.seed)
gan = GAN(latent=32, size=64, hidden=(64, 128, 256)).to(device)
play("GAN", gan, train.flat, 250, 50)
tg.manual_seed(args.seed)
dcgan = DCGAN(latent=32, image=(1, 8, 8), channels=(64, 32)).to(device)
play("DCGAN", dcgan, train.images[:, None], 100, 50)
judged = judge(train, test, device=device)  # by a classifier of these images: how it sees them
classifier, distance = judged.classifier, judged.distance


def mean_distance(x):  # over many draws: among only 360 images luck decides how many show which digit
    return np.mean([distance(x[i : i + distance.n]) for i in range(0, len(x) - distance.n + 1, distance.n)])


pixels = evaluate.independent_pixels(train.flat, 5000, 0)
for name, model in (("GAN", gan), ("DCGAN", dcgan)):
    tg.manual_seed(0)  # of what measures
    samples = model.sample(5000)
    plot.image_grid(images(samples[:64]), run.path(f"{name.lower()}.png"), title=f"{name}: 64 samples")
    shares = (100 * evaluate.class_shares(x, classifier.predict).min() for x in (samples, pixels, x_test))
    rows.append((name, "share of the rarest digit", "%", *shares))
    distances = (mean_distance(x) for x in (samples, pixels, train.flat))
    rows.append((name, "Fréchet distance", "squared features", *distances))

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
    nll = units + evaluate.importance_sampled_nll(model, standardise(moons_test), 100, args.seed).value
    rows.append(("Gaussian VAE", "test −log p(x), bound", "nats per point", nll, gaussian, entropy))
    show("Gaussian VAE", "gaussian_vae.png", lambda u: density_from_prior(model, u))

print(f"\n{training.table(rows, HEADERS)}\n")
print("Lower is better, except for the share of the rarest digit.  For the GANs the “floor” is that of real images.")
print("Baselines: PCA (twice); independent pixels (five times); a Gaussian with full covariance (twice).")
print("Features are the numbers that a classifier of these digits computes of an image before it decides on the class.")
print(f"{time.perf_counter() - start:.0f} s.  Pictures: {', '.join(str(p) for p in sorted(run.folder.glob('*.png')))}")
