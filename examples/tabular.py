"""Tables of numbers: how likely is a row, and which rows are unlike the rest?  A flow and a VAE beside what is simpler.

The models learn the rows of one kind only (benign tumours, two kinds of wine) and are asked about new ones: how well they
predict them, −log p(x) in nats per row, and whether the other kind (malignant tumours, the third wine) looks less likely,
which is measured by the AUROC: the probability that an anomaly has a higher score than a normal row.  Both tables come with
scikit-learn; nothing is downloaded.  With so few rows everything depends on which of them are tested, so every number is a
mean over five splits, with its standard deviation.  What comes out: on 200 benign tumours the flow is by far the best density
(7 nats; a Gaussian 16), and the VAE finds the malignant ones best (0.975 ± 0.007; the isolation forest 0.957 ± 0.007); 73 rows of
wine are too few to beat a Gaussian by more than the deviation.  Pictures, in runs/tabular/:

    results.png    density and AUROC of all models, with the deviation over the splits
    scores.png     −log p(x) of new normal rows and of anomalies, one split: the less they overlap, the better

    python examples/tabular.py                                  # half a minute
    python examples/tabular.py --data my_table.csv --labels     # rows of numbers; in the last column 1 for an anomaly, 0 for others
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import tinygen as tg
from tinygen import data, evaluate, optim, training
from tinygen.errors import UsageError
from tinygen.models import GaussianVAE, RealNVP
from tinygen.plot.figure import COLORS, new_figure

try:
    from sklearn.datasets import load_breast_cancer, load_wine
    from sklearn.ensemble import IsolationForest
    from sklearn.metrics import roc_auc_score
    from sklearn.mixture import GaussianMixture
except ImportError:
    raise SystemExit(
        "tabular.py: the tables and the baselines come with scikit-learn: pip install scikit-learn"
    ) from None

parser = training.parser(__doc__, epochs=200, batch_size=32, lr=1e-3)
parser.add_argument("--data", type=Path, metavar="FILE", help="a .csv of your own, instead of the two tables")
parser.add_argument(
    "--labels", action="store_true", help="its last column says what is an anomaly: 1, and 0 for normal"
)
parser.add_argument("--splits", type=training.at_least(1), default=5, help="random splits into three parts (default 5)")
parser.add_argument("--patience", type=training.at_least(1), default=20, help="epochs without progress (default 20)")
args = parser.parse_args()
device = training.select_device(args.device)


def tables():
    """Name -> (normal rows, anomalies)."""
    if args.data is None:
        cancer, wine = load_breast_cancer(), load_wine()
        return {
            "breast cancer": (cancer.data[cancer.target == 1], cancer.data[cancer.target == 0]),
            "wine": (wine.data[wine.target != 2], wine.data[wine.target == 2]),
        }
    try:
        rows = data.read_csv(args.data)
    except OSError as error:
        raise UsageError(str(error)) from error
    is_anomaly = rows[:, -1] != 0 if args.labels else np.zeros(len(rows), bool)
    rows = rows[:, :-1] if args.labels else rows
    if rows.shape[1] < 2 or (~is_anomaly).sum() < 20 or (args.labels and not is_anomaly.any()):
        raise UsageError(
            f"{args.data}: {(~is_anomaly).sum()} normal rows and {is_anomaly.sum()} anomalies of {rows.shape[1]} columns; at "
            "least 20 normal rows and 2 columns are needed, and with --labels one anomaly (last column: 1)"
        )
    return {args.data.stem: (rows[~is_anomaly], rows[is_anomaly])}


def split(rows, seed):
    """56 % for training, 14 % to know when to stop, 30 % for testing."""
    n = len(rows)
    sizes = [n - round(0.3 * n) - round(0.14 * n), round(0.14 * n), round(0.3 * n)]
    return [rows[part.indices] for part in data.random_split(range(n), sizes, tg.Generator().manual_seed(seed))]


def fit(name, model, train, valid, seed):
    """Early stopping: the weights with the lowest −log p(x) of the validation rows are kept, and in the end put back."""
    optimizer = optim.AdamW(model.parameters(), lr=args.lr, weight_decay=1.0)  # large: there are few rows
    loader = data.DataLoader(train, args.batch_size, shuffle=True, generator=seed, device=device)
    keeper = run.keeper({"epochs": epochs}, name, model=model, optimizer=optimizer)
    best = keeper.values.setdefault(
        "best", {"value": None, "epoch": 0, "weights": {}}
    )  # survives Ctrl-C, as all values do

    @tg.compile  # many small operators: half of the time would be bookkeeping
    def step(x):
        optimizer.zero_grad()
        loss = model.loss(x)
        loss.backward()
        optimizer.step()
        return loss.detach()

    for epoch in keeper.epochs(epochs):
        if epoch - best["epoch"] > args.patience:
            continue  # no progress for so long: the epochs that are left are skipped
        for x in keeper.batches(loader):
            loss = step(x)
            keeper.check(loss)
        value = float(score(model, valid, draws=20).mean())
        keeper.log(loss=loss.item(), validation=value)
        if best["value"] is None or value < best["value"]:
            weights = {key: tensor.cpu().numpy().copy() for key, tensor in model.state_dict().items()}
            best.update(value=value, epoch=epoch, weights=weights)
    model.load_state_dict({key: tg.tensor(array) for key, array in best["weights"].items()})
    return model


def score(model, rows, draws=500):
    """−log p(x), in nats: (n,).  Of a VAE by importance sampling, an upper bound on average."""
    more = {"samples": draws} if isinstance(model, GaussianVAE) else {}
    with tg.no_grad():
        return -model.log_prob(tg.as_tensor(rows, device=device), **more).cpu().numpy()


def mixture(train, valid):
    """The mixture of up to five Gaussians that predicts the validation rows best."""
    made = [
        GaussianMixture(k, covariance_type=kind, reg_covar=1e-3, random_state=0).fit(train)
        for kind in ("full", "diag")
        for k in range(1, 6)
    ]
    return max(made, key=lambda model: model.score(valid))


sets = tables()
run = training.start("tabular", args)
epochs, splits = (2, 2) if args.dry_run else (args.epochs, args.splits)
results, shown = {}, {}
for table, (normal, anomalies) in sets.items():
    print(f"{table}: {len(normal)} normal rows, {len(anomalies)} anomalies, {normal.shape[1]} columns")
    for seed in (bar := training.progress(range(args.seed, args.seed + splits), table)):
        parts = split(normal, seed)
        standardize = data.Standardizer.fit(parts[0])
        train, valid, test, others = map(standardize, (*parts, anomalies))
        columns = train.shape[1]
        key = f"{table.replace(' ', '_')}_{seed}"

        tg.manual_seed(seed)
        vae = fit(f"{key}_vae", GaussianVAE(columns, hidden=100, latent=5).to(device), train, valid, seed)
        tg.manual_seed(seed)
        flow = fit(f"{key}_realnvp", RealNVP(columns, hidden=32, depth=8).to(device), train, valid, seed)
        gaussian, gmm = GaussianMixture(1, random_state=0).fit(train), mixture(train, valid)
        pca = evaluate.PCA.fit(train, min(5, columns - 1))
        forest = IsolationForest(random_state=seed).fit(train)

        rows, is_anomaly = np.concatenate([test, others]), np.repeat([False, True], [len(test), len(others)])
        tg.manual_seed(seed)  # of the VAE's draws
        nats = {  # −log p(x): the higher, the stranger
            "RealNVP": score(flow, rows),
            "VAE": score(vae, rows),
            "one Gaussian": -gaussian.score_samples(rows),
            "Gaussian mixture": -gmm.score_samples(rows),
        }
        others_scores = {  # the same without a density
            f"PCA, {pca.components.shape[0]} components": np.square(rows - pca.reconstruct(rows)).sum(1),
            "isolation forest": -forest.score_samples(rows),
        }
        for name, values in (nats | others_scores).items():
            found = results.setdefault((table, name), {"nats": [], "AUROC": []})
            if name in nats:
                found["nats"].append(float(values[~is_anomaly].mean()))
            if is_anomaly.any():
                found["AUROC"].append(float(roc_auc_score(is_anomaly, values)))
        if seed == args.seed:
            shown |= {(table, name): (nats[name], is_anomaly) for name in ("RealNVP", "VAE")}


def mean_and_deviation(values):
    return (np.mean(values), np.std(values, ddof=1) if len(values) > 1 else 0.0) if values else None


def plus_minus(values, digits):
    found = mean_and_deviation(values)
    return None if found is None else f"{found[0]:.{digits}f} ± {found[1]:.{digits}f}"


headers = ("table", "model", "new rows, nats per row", "AUROC of anomalies")
print(
    training.table(
        [(*key, plus_minus(found["nats"], 2), plus_minus(found["AUROC"], 3)) for key, found in results.items()], headers
    )
)
print(
    f"Means ± standard deviations over {splits} splits.  Nats: −log p(x) of standardised columns, lower is better; one Gaussian is\n"
    "the baseline, and nobody knows the floor, the entropy of the tables.  AUROC: higher is better, 0.5 is chance, 1 perfect."
)

# Pictures
names = list(dict.fromkeys(table for table, _ in results))
with new_figure(run.path("results.png"), 7.2, 2.3 * len(names), None) as figure:
    axes = figure.subplots(len(names), 2, squeeze=False)
    for row, table in zip(axes, names, strict=True):
        for ax, kind in zip(row, ("nats", "AUROC"), strict=True):
            rows = {name: mean_and_deviation(f[kind]) for (of, name), f in results.items() if of == table and f[kind]}
            if not rows:  # no anomalies are known
                ax.set_visible(False)
                continue
            for i, (mean, deviation) in enumerate(rows.values()):
                ax.errorbar(mean, i, xerr=deviation, fmt="o", capsize=3, color=COLORS[0 if i < 2 else 1])
            ax.set_yticks(range(len(rows)), list(rows))
            ax.set_ylim(len(rows) - 0.5, -0.5)
            ax.set_title(table)
            ax.set_xlabel("nats per new row (low is good)" if kind == "nats" else "AUROC (high is good)")
with new_figure(run.path("scores.png"), 7.2, 2.3 * len(names), None) as figure:
    axes = figure.subplots(len(names), 2, squeeze=False)
    for ax, ((table, name), (values, is_anomaly)) in zip(axes.flat, shown.items(), strict=True):
        low, high = np.quantile(values, [0, 0.8])
        bins = np.linspace(low, high, 40)
        parts = {"new normal rows": values[~is_anomaly], "anomalies": values[is_anomaly]}
        for color, (label, values) in zip(COLORS, parts.items(), strict=False):
            if len(values):
                ax.hist(values.clip(low, high), bins, density=True, alpha=0.6, color=color, label=label)
        ax.set(title=f"{table}: {name}", xlabel="−log p(x), nats (the last bar: more)", ylabel="density")
        ax.legend()

run.save_metrics(results=[{"table": table, "model": name, **found} for (table, name), found in results.items()])
print(f"Pictures are in {run.folder}/")
