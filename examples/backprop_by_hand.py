"""A two-layer network is differentiated three times: by hand, by tinygen, and by finite differences.

    h = tanh(W₁ x + b₁),   y = W₂ h + b₂,   L = mean (y − t)²

Read `by_hand` from bottom to top beside the forward pass: every line of it is one step of the chain rule, and it is what
tinygen does by itself.  The numbers of all three are printed side by side, and a picture of the gradients of W₁ is
written to runs/backprop_by_hand/gradients.png, by each of the three methods.
"""

from __future__ import annotations

import numpy as np

import tinygen as tg
from tinygen import plot, training

args = training.parser(__doc__, device="cpu").parse_args()
run = training.start("backprop_by_hand", args)
rng = np.random.default_rng(args.seed)

# Four samples of three numbers, five hidden units, two outputs.  float64, so that finite differences are sharp.
x, t = rng.standard_normal((4, 3)), rng.standard_normal((4, 2))
weights = {
    "W1": rng.standard_normal((5, 3)),
    "b1": rng.standard_normal(5),
    "W2": rng.standard_normal((2, 5)),
    "b2": rng.standard_normal(2),
}


def loss(W1, b1, W2, b2):
    """The forward pass.  It runs on NumPy arrays and on tensors alike."""
    xs, target = (x, t) if isinstance(W1, np.ndarray) else (tg.tensor(x), tg.tensor(t))
    h = tg.tanh(xs @ W1.T + b1)  # (4, 5)
    y = h @ W2.T + b2  # (4, 2)
    return ((y - target) ** 2).mean()


def by_hand(W1, b1, W2, b2):
    """The backward pass: dL/d(everything), from the loss to the first layer.  d_ stands for dL/d."""
    h = np.tanh(x @ W1.T + b1)
    y = h @ W2.T + b2

    d_y = 2 * (y - t) / y.size  # L is a mean of squares
    d_W2 = d_y.T @ h  # y = h W₂ᵀ + b₂: one outer product per sample, summed
    d_b2 = d_y.sum(axis=0)  # b₂ was added to every sample, so it collects from all of them
    d_h = d_y @ W2  # a linear map sends gradients back through its transpose
    d_a = d_h * (1 - h**2)  # h = tanh(a), tanh' = 1 − tanh²
    d_W1 = d_a.T @ x
    d_b1 = d_a.sum(axis=0)
    return {"W1": d_W1, "b1": d_b1, "W2": d_W2, "b2": d_b2}


def by_tinygen(**arrays):
    tensors = {name: tg.tensor(a, requires_grad=True) for name, a in arrays.items()}
    loss(**tensors).backward()
    return {name: p.grad.numpy() for name, p in tensors.items()}


def by_differences(step=1e-5, **arrays):
    """(L(w + step) − L(w − step)) / (2 step), for one weight at a time: two forward passes each, 27 weights."""
    gradients = {name: np.zeros_like(a) for name, a in arrays.items()}
    for name, a in arrays.items():
        for i in np.ndindex(a.shape):
            up, down = a.copy(), a.copy()
            up[i] += step
            down[i] -= step
            gradients[name][i] = (loss(**{**arrays, name: up}) - loss(**{**arrays, name: down})) / (2 * step)
    return gradients


hand, auto, differences = by_hand(**weights), by_tinygen(**weights), by_differences(**weights)

print(f"The loss is {float(loss(**weights)):.6f}.  Its derivatives:\n")
rows = [
    (f"{name}[{', '.join(map(str, i))}]", *(f"{g[name][i]:+.9f}" for g in (hand, auto, differences)))
    for name, i in [
        ("W1", (0, 0)),
        ("W1", (4, 2)),
        ("b1", (0,)),
        ("b1", (4,)),
        ("W2", (0, 0)),
        ("W2", (1, 4)),
        ("b2", (1,)),
    ]
]
print(training.table(rows, ("with respect to", "by hand", "tinygen", "finite differences")))

print("\nThe largest difference to tinygen's over all weights:")
for name, other, why in (
    ("by hand", hand, "rounding in the 16th digit"),
    ("finite differences", differences, "the step is not infinitely small, and L is rounded"),
):
    worst = max(np.abs(other[k] - auto[k]).max() for k in weights)
    print(f"    {name:<20} {worst:.1e}   ({why})")

columns = {"by hand": hand["W1"], "tinygen": auto["W1"], "finite\ndifferences": differences["W1"]}
plot.matrix(
    np.concatenate(list(columns.values()), axis=1),
    run.path("gradients.png"),
    row_labels=[f"unit {i + 1}" for i in range(5)],
    col_labels=[f"x{j + 1}\n{name}" if j == 1 else f"x{j + 1}" for name in columns for j in range(3)],
    title="dL/dW1, three times",
)
print(f"\nPicture: {run.path('gradients.png')}")
