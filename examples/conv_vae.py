"""A convolutional VAE beside the convolutional autoencoder with as many numbers per image: what a known density buys.

The autoencoder reconstructs better, since nothing asks anything else of it; the VAE's codes fill the density that samples
are drawn from, so its samples are better.  Pictures, in runs/conv_vae/:

    loss.png                  the VAE's −ELBO on test images
    reconstructions.png       test images, the VAE's answers, the autoencoder's
    samples.png               the VAE's images of 64 latents z ~ N(0, I)
    samples_autoencoder.png   the autoencoder's images of 64 codes from a Gaussian fitted to its codes

    python examples/conv_vae.py --data digits         # five minutes, no download
    python examples/conv_vae.py --raw-pixels          # the trap: with pixels in [0, 1] no latent is worth its price
"""

from __future__ import annotations

from common import is_small, load, to_show

import tinygen as tg
from tinygen import data, optim, plot, training
from tinygen.models import ConvAutoencoder, ConvVAE
from tinygen.models.conv_autoencoder import in_batches, squared_error
from tinygen.models.judge import judge
from tinygen.models.vae import kl_to_standard_normal

parser = training.parser(__doc__, images=True, batch_size=100, lr=1e-3)
parser.add_argument("--latent", type=training.at_least(1), default=32, help="numbers per image (default 32)")
parser.add_argument("--raw-pixels", action="store_true", help="do not standardise the pixels, and see the latents die")
args = parser.parse_args()
device = training.select_device(args.device)
train, test = load(args, at_least=16)
run = training.start("conv_vae", args)
epochs = args.epochs or (150 if is_small(train) else 10)
x_train, x_test = train.with_channels, test.with_channels  # (n, channels, height, width)
pixels = (0.0, 1.0) if args.raw_pixels else (x_train.mean(), x_train.std())


def fit(name, model, measure):
    """The training loop of both: `model.loss` says what to minimise.  Returns what was measured after each epoch."""
    optimizer = optim.Adam(model.parameters(), lr=args.lr)
    loader = data.DataLoader(x_train, args.batch_size, shuffle=True, generator=args.seed, device=device)
    keeper = run.keeper(name=name, model=model, optimizer=optimizer)
    measured = keeper.values.setdefault("measured", [])
    for epoch in keeper.epochs(epochs):
        model.train()
        for x in (bar := training.progress(keeper.batches(loader), f"{name}, epoch {epoch + 1}/{epochs}")):
            optimizer.zero_grad()
            loss = model.loss(x)
            keeper.check(loss)
            loss.backward()
            optimizer.step()
            keeper.log(loss=loss.item())
            bar.set("", loss=loss.item())
        model.eval()
        measured.append(measure(model))
        keeper.log(**measured[-1])
    return measured


def nats(vae):
    like = vae.pixel_mean
    return {
        "test_loss": -in_batches(vae.elbo, x_test, like).mean().item(),
        "kl": in_batches(lambda x: kl_to_standard_normal(*vae.encode(x)), x_test, like).mean().item(),
    }


tg.manual_seed(args.seed)
vae = ConvVAE(args.latent, x_train.shape[1:], pixels=pixels).to(device)
losses, kls = zip(*(numbers.values() for numbers in fit("vae", vae, nats)), strict=True)
tg.manual_seed(args.seed)
autoencoder = ConvAutoencoder(args.latent, x_train.shape[1:]).to(device)
fit("autoencoder", autoencoder, lambda model: {"test_error": squared_error(model, x_test)})
autoencoder.fit_density(x_train)

# Pictures
plot.curves({"−ELBO": losses}, run.path("loss.png"), xlabel="epoch", ylabel="nats per test image")
x = tg.tensor(x_test[to_show(test, 12)], device=device)
plot.rows(
    {"original": x, "VAE": vae.reconstruct(x), "autoencoder": autoencoder.reconstruct(x)},
    run.path("reconstructions.png"),
    title=f"{args.latent} numbers per image",
)
plot.image_grid(vae.sample(64), run.path("samples.png"), title="VAE, z ~ N(0, I)")
plot.image_grid(
    autoencoder.sample(64), run.path("samples_autoencoder.png"), title="autoencoder, codes from a fitted Gaussian"
)

# How far the samples are from test images, in what a classifier sees of them
headers = ["model", "test squared error, grey levels²/image"]
rows = [["VAE", squared_error(vae, x_test)], ["autoencoder", squared_error(autoencoder, x_test)]]
if train.labels is None:
    print("No labels: the Fréchet distance of the samples, which a classifier's features measure, is left out.")
else:
    judged = judge(train, test, device=device)  # the same for every run on these images
    distance, unrelated = judged.distance, judged.unrelated
    headers += ["Fréchet distance of samples", "floor: real images", "baseline: independent pixels"]
    levels = {"baseline": unrelated, "baseline_is": "independent pixels", "floor": distance.floor}
    ruler = {"images": distance.n, "classifier": judged.checksum, "seed": 0}
    for row, model in zip(rows, (vae, autoencoder), strict=True):
        tg.manual_seed(0)  # of what measures
        row += [distance(model.sample(distance.n)), distance.floor, unrelated]
        run.record("Fréchet distance of samples", "squared features", row[2], model=model, on=test, **levels, **ruler)

for row, model in zip(rows, (vae, autoencoder), strict=True):
    run.record("test squared error", "grey levels² per image", row[1], model=model, on=test, floor=0.0)
run.save_metrics(test_loss=losses, kl=kls, table=rows)
print(training.table(rows, headers))
if train.labels is not None:
    print(
        f"The Fréchet distance is measured in our own classifier's features, with {distance.n:,} images on each side."
    )
used = int((in_batches(lambda x: vae.encode(x)[0], x_test, vae.pixel_mean).var(0) > 0.01).sum().item())
print(f"The VAE spends {kls[-1]:.1f} nats per image on its latents and uses {used} of {args.latent}.")
print(f"Pictures are in {run.folder}/")
