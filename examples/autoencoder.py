"""An autoencoder squeezes an image through ten numbers and is asked to draw it again.

It shows what a non-linear code buys over PCA, which is the best linear code of the same width, and that the space of
codes can be walked through.  Pictures, in runs/autoencoder/:

    reconstructions.png   test images, the autoencoder's answers, PCA's answers
    error.png             the test error over the epochs, beside PCA and beside answering with the mean image
    interpolation.png     from one image to another in a straight line through the space of codes
    walk.png              one number of a code changed at a time

    python examples/autoencoder.py --data digits          # seconds, no download
    python examples/autoencoder.py --relu-code            # the deck's network: look for dead rows in walk.png
"""

from __future__ import annotations

import numpy as np
from common import as_images, between, is_small, load, to_show

import tinygen as tg
from tinygen import data, evaluate, nn, optim, plot, training
from tinygen.models import Autoencoder

parser = training.parser(__doc__, images=True, batch_size=128, lr=1e-3)
parser.add_argument("--code", type=training.at_least(1), default=10, help="numbers in the code (default 10)")
parser.add_argument(
    "--relu-code", action="store_true", help="a ReLU on the code too, as in the deck: some of it will die"
)
args = parser.parse_args()
device = training.select_device(args.device)
train, test = load(args)
run = training.start("autoencoder", args)
epochs = args.epochs or (200 if is_small(train) else 20)
tg.manual_seed(args.seed)

# The network: pixels -> 256 -> code -> 256 -> pixels
code_activation = nn.ReLU() if args.relu_code else nn.Identity()
model = Autoencoder((train.flat.shape[1], 256, args.code), code_activation).to(device)
optimizer = optim.Adam(model.parameters(), lr=args.lr)
loader = data.DataLoader(train.flat, args.batch_size, shuffle=True, generator=args.seed, device=device)
keeper = run.keeper(model=model, optimizer=optimizer)
errors = keeper.values.setdefault("errors", [])

# What it has to beat: the best linear code, and no code at all
pca = evaluate.PCA.fit(train.flat, args.code)
pca_error = evaluate.squared_error(pca.reconstruct, test.flat)
mean_error = evaluate.variance(train.flat, test.flat)

x_test = tg.as_tensor(test.flat, device=device)
for epoch in keeper.epochs(epochs):
    for x in (bar := training.progress(keeper.batches(loader), f"epoch {epoch + 1}/{epochs}")):
        optimizer.zero_grad()
        loss = model.loss(x)  # squared error, summed over the pixels, averaged over the batch
        keeper.check(loss)
        loss.backward()
        optimizer.step()
        keeper.log(loss=loss.item())
        bar.set("grey levels² per image", error=loss.item())
    errors.append(evaluate.squared_error(model.reconstruct, x_test))
    keeper.log(test_error=errors[-1])

# Pictures
x = x_test[to_show(test, 12)]
plot.rows(
    {
        "original": as_images(x, test),
        "autoencoder": as_images(model.reconstruct(x), test),
        "PCA": as_images(pca.reconstruct(x), test),
    },
    run.path("reconstructions.png"),
    title=f"{args.code} numbers per image: error {errors[-1]:.3g}, PCA {pca_error:.3g}",
)
plot.curves(
    {"autoencoder": errors},
    run.path("error.png"),
    xlabel="epoch",
    ylabel="test error, grey levels² per image",
    lines={"mean image": mean_error, f"PCA, {args.code}": pca_error},
)
with tg.no_grad():
    h = model.encode(x_test[to_show(test)])
    path = between(h[:5], h[5:])
    plot.latent_walk(
        as_images(model.decode(path), test),
        run.path("interpolation.png"),
        values=np.linspace(0, 1, path.shape[1]).round(1).tolist(),
        xlabel="place on the straight line between two codes",
    )
    # Walk each number from the smallest to the largest value that it takes on the test images.
    codes = model.encode(x_test)
    steps, least, most = 9, codes.amin(0), codes.amax(0)
    walk = codes[:1].repeat(args.code * steps, 1).reshape(args.code, steps, args.code)
    for j in range(args.code):
        walk[j, :, j] = tg.linspace(least[j].item(), most[j].item(), steps, device=device)
    plot.latent_walk(
        as_images(model.decode(walk), test),
        run.path("walk.png"),
        labels=[f"$h_{{{j + 1}}}$" for j in range(args.code)],
        values=["least", *[""] * (steps - 2), "most"],
        xlabel="one number of the first test image's code",
        cell=0.45,
    )

run.save_metrics(test_error=errors, pca_error=pca_error, mean_error=mean_error)
metric, unit, pca_is = "test squared error", "grey levels² per image", f"PCA, {args.code} numbers"
run.record(metric, unit, errors[-1], model=model, on=test, baseline=pca_error, baseline_is=pca_is, floor=0.0)
result = ("autoencoder", metric, unit, errors[-1], pca_error, 0.0)
print(training.table([result], ("model", "metric", "unit", "value", "baseline: PCA", "floor")))
print(f"Pictures are in {run.folder}/")
