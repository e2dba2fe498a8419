"""The pieces of a normalising flow, small enough to check by hand: couplings, masks, squeezing, the logit.

    y = b⊙x + (1-b)⊙(x⊙exp s(b⊙x) + t(b⊙x)),     log|det ∂y/∂x| = Σ (1-b)⊙s(b⊙x)

Printed: the Jacobian of a coupling of 6 numbers, the first 3 of which pass, as in the slides' listing, and its log-determinant
twice; what the logit is worth to a density of pixels.  Pictures, in runs/flow_pieces/:

    jacobian.png     triangular for one coupling, full for three in turn, whose log-determinants still just add up
    squeeze.png      4 × 4 × 1 pixels become 2 × 2 × 4
    masks.png        who passes and who moves in six couplings of an image: checkerboards, squeeze, channels
    logit.png        pixels and their logits, and a Gaussian for each: only one of them stays inside of what pixels can be

Source: Fleuret, EE-559, lecture 9 (deck D4); Dinh, Sohl-Dickstein, Bengio 2016, figure 3.
"""

from __future__ import annotations

import numpy as np
from matplotlib.patches import Rectangle

import tinygen as tg
from tinygen import data, nn, training
from tinygen.autograd import jacobian
from tinygen.nn import flows
from tinygen.plot.figure import COLORS, GREY, new_figure

args = training.parser(__doc__, device="cpu").parse_args()
run = training.start("flow_pieces", args)
tg.manual_seed(args.seed)
INKS = ("#CFE3F2", "#F8D9C4", "#CDEBDD", "#F3DFEB")  # four pale colours, one for each channel of a squeezed image
PASSES, MOVES = "#CFE3F2", "#E07B39"


def cell(axes, i: float, j: float, text: object, color: str, ink: str = "black", size: float = 10) -> None:
    axes.add_patch(Rectangle((j, i), 1, 1, facecolor=color, edgecolor="white", linewidth=1.2))
    axes.text(j + 0.5, i + 0.53, str(text), ha="center", va="center", fontsize=size, color=ink)


def frame(axes, rows: float, columns: float, title: str) -> None:
    axes.set(xlim=(-0.1, columns + 0.1), ylim=(rows + 0.1, -0.1), aspect="equal", title=title)
    axes.axis("off")


# --- The Jacobian -------------------------------------------------------------------------------------------------------


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 6), nn.Tanh())


couplings = [flows.AffineCoupling(flows.half_mask(6, i), network(), network()) for i in range(3)]
flow = flows.Composition(*couplings).double()
x = tg.randn(1, 6, dtype=tg.float64)

drawn = {}
for name, part in (("one coupling", flow[:1]), ("three couplings, masks in turn", flow)):
    _, logdet = part(x)
    J = jacobian(lambda row, part=part: part(row.unsqueeze(0))[0][0], x[0]).numpy()
    drawn[name] = (J, logdet.item())
    print(f"∂y/∂x of {name}:")
    for line in J:
        print("   ", " ".join(f"{v:8.4f}" if v else f"{'·':>8}" for v in line))
    print(f"    log|det|, from the layers' sums of s    {logdet.item():.12f}")
    print(f"    log|det|, numpy.linalg.slogdet          {np.linalg.slogdet(J)[1]:.12f}\n")

with new_figure(run.path("jacobian.png"), 9, 4.2, "∂y/∂x: rows are outputs, columns inputs") as figure:
    for axes, (name, (J, logdet)) in zip(figure.subplots(1, 2), drawn.items()):
        for (i, j), v in np.ndenumerate(J):
            strength = 0.75 * min(abs(v), 1)
            color = tuple(1 - strength * (1 - c) for c in ((0.84, 0.37, 0.0) if v > 0 else (0.0, 0.45, 0.7)))
            cell(axes, i, j, f"{round(v, 2) + 0:.2f}" if v else "·", color, "black" if v else GREY, 9)
        frame(axes, 6, 6, f"{name}: log|det| = {logdet:.3f}")

# --- Squeeze, and masks ----------------------------------------------------------------------------------------------------

pixels = tg.arange(1.0, 17).reshape(1, 1, 4, 4)
squeezed = flows.Squeeze()(pixels)[0][0].long().tolist()

title = "Squeeze: every square of 2 × 2 pixels becomes one pixel of 4 channels"
with new_figure(run.path("squeeze.png"), 9.5, 2.9, title) as figure:
    left, *cards = figure.subplots(1, 5, width_ratios=(4.2, 2.2, 2.2, 2.2, 2.2))
    for i, j in np.ndindex(4, 4):
        cell(left, i, j, 4 * i + j + 1, INKS[2 * (i % 2) + j % 2])
        if i < 2 and j < 2:
            left.add_patch(Rectangle((2 * j, 2 * i), 2, 2, fill=False, edgecolor=GREY, linewidth=1.8, zorder=3))
    frame(left, 4, 4, "4 × 4 × 1")
    for c, axes in enumerate(cards):
        for i, j in np.ndindex(2, 2):
            cell(axes, i, j, squeezed[c][i][j], INKS[c])
        frame(axes, 2, 2, f"2 × 2, channel {c + 1}")

boards = [flows.checkerboard_mask((1, 4, 4), i) for i in range(3)]
halves = [flows.Squeeze().inverse(flows.channel_mask((4, 2, 2), i).double().unsqueeze(0))[0][0] for i in range(3)]
title = "Six couplings, seen on the pixels: blue passes and decides, orange is moved"
with new_figure(run.path("masks.png"), 9.5, 2.0, title) as figure:
    for k, (axes, mask) in enumerate(zip(figure.subplots(1, 6), boards + halves)):
        for i, j in np.ndindex(4, 4):
            cell(axes, i, j, "", PASSES if mask[0, i, j] else MOVES)
        what = "checkerboard" if k < 3 else f"squeezed:\nchannels {'1, 2' if k % 2 else '3, 4'} pass"
        frame(axes, 4, 4, f"{k + 1}  {what}")

# --- The logit -------------------------------------------------------------------------------------------------------------

digits, _ = data.digits()
x = flows.Dequantize(17)(tg.tensor(digits.flat, dtype=tg.float64).reshape(-1, 1))  # 17 grey levels
base, line = flows.StandardNormal(1), tg.linspace(-0.5, 1.5, 2001, dtype=tg.float64).reshape(-1, 1)
gaussian = flows.Composition(flows.ActNorm(1)).double()  # its first batch fits mean and deviation
bounded = flows.Composition(flows.Logit(0.0), flows.ActNorm(1)).double()  # dequantised: never exactly 0 or 1


def log_prob(flow: nn.Module, x: tg.Tensor) -> tg.Tensor:
    with tg.no_grad():
        z, logdet = flow(x)
        return base.log_prob(z) + logdet


fit = {
    "Gaussian of the pixels": log_prob(gaussian, x).mean().item(),
    "Gaussian of the logits": log_prob(bounded, x).mean().item(),
}
with tg.no_grad():
    draws = base.sample(100000, dtype=tg.float64)
    outside = [(s < 0) | (s >= 1) for s in (flow.inverse(draws)[0] for flow in (gaussian, bounded))]
rows = [
    (name, f"{nats:.3f}", f"{share.double().mean().item():.1%}") for (name, nats), share in zip(fit.items(), outside)
]
print("One density for all dequantised pixels of the digits; a uniform one has log p = 0.")
print(training.table(rows, ("model", "mean log p, nats per pixel (higher is better)", "samples outside [0, 1)")))

y, logits = bounded[0](x)[0].numpy().ravel(), tg.linspace(-9, 9, 500, dtype=tg.float64).reshape(-1, 1)
inside = line[(line[:, 0] > 0) & (line[:, 0] < 1)]
with new_figure(run.path("logit.png"), 9, 3.2, None) as figure:
    before, after = figure.subplots(1, 2)
    before.hist(x.numpy().ravel(), 68, density=True, color="0.85", label="pixels")
    before.plot(line, log_prob(gaussian, line).exp(), color=COLORS[1], label="Gaussian of the pixels")
    before.plot(inside, log_prob(bounded, inside).exp(), color=COLORS[0], label="Gaussian of the logits")
    before.set(title="pixels v", xlabel="v", ylabel="density", ylim=(0, 4), xlim=(-0.5, 1.5))
    after.hist(y, 68, density=True, color="0.85", label="logits of the pixels")
    after.plot(logits, log_prob(bounded[1:], logits).exp(), color=COLORS[0], label="their Gaussian")
    after.set(xlim=(-9, 9), title="logits log(v / (1 − v))", xlabel="logit", ylabel="density")
    for axes in (before, after):
        axes.legend(frameon=False)
print(f"\nPictures: {run.path('jacobian.png').parent}")
