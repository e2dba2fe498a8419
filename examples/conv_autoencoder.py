"""A convolutional autoencoder squeezes an image through eight numbers, which PCA cannot do half as well.

It shows reconstructions beside PCA's, straight walks between two codes, and what the space of codes looks like: clusters
with gaps.  A Gaussian fitted to the codes covers the gaps too, so its samples are digits and half-digits.  Pictures, in
runs/conv_autoencoder/:

    reconstructions.png   test images, the autoencoder's answers, PCA's answers
    error.png             the test error over the epochs, beside PCA and beside answering with the mean image
    interpolation.png     ξ(x, y, α) = g((1−α) f(x) + α f(y)): from one image to another
    samples.png           g(h) for codes h drawn from the Gaussian
    codes_pca.png         the codes of test images, in the plane of their two principal components
    codes_tsne.png        the same codes, arranged by t-SNE so that neighbours stay neighbours (needs scikit-learn)

    python examples/conv_autoencoder.py --data digits       # two minutes, no download
    python examples/conv_autoencoder.py --codes 8 16 32     # the deck's three; several minutes each
"""

from __future__ import annotations

import numpy as np
from common import is_small, load, to_show

import tinygen as tg
from tinygen import data, evaluate, optim, plot, training
from tinygen.models import ConvAutoencoder
from tinygen.models.conv_autoencoder import in_batches, squared_error

parser = training.parser(__doc__, images=True, batch_size=100, lr=1e-3)
parser.add_argument(
    "--codes",
    type=training.at_least(2),
    nargs="+",
    default=[8],
    help="numbers in the code, one model each (default 8)",
)
args = parser.parse_args()
device = training.select_device(args.device)
train, test = load(args, at_least=16)
run = training.start("conv_autoencoder", args)
epochs = args.epochs or (150 if is_small(train) else 10)
x_train, x_test = train.with_channels, test.with_channels  # (n, channels, height, width)
shown = tg.tensor(x_test[to_show(test, 12)], device=device)

reconstructions, errors, lines, samples, table = {"original": shown}, {}, {}, {}, []
lines["mean image"] = evaluate.variance(train.flat, test.flat)
for code in args.codes:
    tg.manual_seed(args.seed)
    model = ConvAutoencoder(code, x_train.shape[1:]).to(device)
    optimizer = optim.Adam(model.parameters(), lr=args.lr)
    loader = data.DataLoader(x_train, args.batch_size, shuffle=True, generator=args.seed, device=device)
    keeper = run.keeper(name=f"code_{code}", model=model, optimizer=optimizer)
    curve = errors[f"code of {code}"] = keeper.values.setdefault("errors", [])
    for epoch in keeper.epochs(epochs):
        for x in (bar := training.progress(keeper.batches(loader), f"code of {code}, epoch {epoch + 1}/{epochs}")):
            optimizer.zero_grad()
            loss = model.loss(x)  # squared error, averaged over the pixels and the batch
            keeper.check(loss)
            loss.backward()
            optimizer.step()
            keeper.log(loss=loss.item())
            bar.set("grey levels² per pixel", error=loss.item())
        curve.append(squared_error(model, x_test))  # summed over the pixels
        keeper.log(test_error=curve[-1])

    pca = evaluate.PCA.fit(train.flat, code)  # what it has to beat: the best linear code
    lines[f"PCA, {code}"] = evaluate.squared_error(pca.reconstruct, test.flat)
    metric, unit, best_linear = "test squared error", "grey levels² per image", lines[f"PCA, {code}"]
    table.append((f"code of {code}", metric, unit, curve[-1], best_linear, 0.0))
    pca_is = f"PCA, {code} numbers"
    run.record(metric, unit, curve[-1], model=model, on=test, baseline=best_linear, baseline_is=pca_is, floor=0.0)
    reconstructions[f"CNN, {code}"] = model.reconstruct(shown)
    reconstructions[f"PCA, {code}"] = pca.reconstruct(shown.flatten(1)).reshape(shown.shape)
    model.fit_density(x_train)
    samples[f"code of {code}"] = model.sample(48).reshape(3, 16, *model.image)

# Pictures of all codes
plot.rows(reconstructions, run.path("reconstructions.png"), title="Test images, drawn again from a few numbers")
plot.curves(
    errors,
    run.path("error.png"),
    xlabel="epoch",
    ylabel="test error, grey levels² per image",
    lines=lines,
)
plot.rows(
    {f"{name}{' ' * i}": grid[i] for name, grid in samples.items() for i in range(3)},
    run.path("samples.png"),
    title="Codes drawn from a Gaussian with the codes' means and variances",
)

# Pictures of the last one
plot.latent_walk(
    model.interpolate(shown[:5], shown[5:10], np.linspace(0, 1, 11)),
    run.path("interpolation.png"),
    values=np.linspace(0, 1, 11).round(1).tolist(),
    xlabel="α: from one code to another",
)
few = slice(0, 2000)
codes = in_batches(model.encode, x_test[few], model.code_mean).cpu().numpy()
labels = None if test.labels is None else test.labels[few]
if labels is None:
    print("No labels: the classes among the codes are left out, all are drawn in one colour.")
plane = evaluate.PCA.fit(codes, 2)
plot.scatter2d(
    plane.encode(codes),
    run.path("codes_pca.png"),
    labels=labels,
    xlabel="first principal component of the codes",
    ylabel="second",
    title=f"Codes of {args.codes[-1]} numbers, seen by PCA",
)
try:
    from sklearn.manifold import TSNE
except ImportError:
    print("codes_tsne.png is left out: t-SNE needs scikit-learn (pip install scikit-learn).")
else:
    # distances and axes mean little in it, neighbourhoods do
    arranged = TSNE(2, init="pca", perplexity=min(30, len(codes) // 4), random_state=args.seed).fit_transform(codes)
    plot.scatter2d(
        arranged,
        run.path("codes_tsne.png"),
        labels=labels,
        xlabel="",
        ylabel="",
        title=f"Codes of {args.codes[-1]} numbers, arranged by t-SNE",
    )

run.save_metrics(test_error=errors, baselines=lines)
print(training.table(table, ("model", "metric", "unit", "value", "baseline: PCA", "floor")))
print(f"Pictures are in {run.folder}/")
