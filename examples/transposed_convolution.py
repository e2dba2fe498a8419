"""A convolution is a matrix, and the transposed convolution is that matrix, transposed.

    y_i = Σ_a κ_a x_{i+a-1}          "convolution": an inner product of the kernel with each piece of x
    x_j = Σ_i κ_{j-i+1} y_i          "transposed convolution": a copy of the kernel for each number of y, added up

The first is what a layer computes on the way forward, the second what gradients do on the way back, and what a decoder does to
grow an image.  Stride, padding and dilation change the first matrix; the second follows.  All numbers are small enough to
check by hand.  Printed: the matrices, the two listings of the slides, both directions of every option, the sizes.
Pictures, in runs/transposed_convolution/:

    matrices.png     the banded matrix and its transpose: plain, with stride, padding, dilation
    two_views.png    inner products of one kernel, and sums of translated kernels
    plane.png        a 3 × 3 kernel on 5 × 5 pixels: blocks in the place of numbers
    sizes.png        when a convolution and its transpose together give back the size, and how much is lost otherwise

Source: Fleuret, EE-559, lecture 9 (deck D4); Dumoulin, Visin 2016, "A guide to convolution arithmetic for deep learning".
"""

from __future__ import annotations

import numpy as np
from matplotlib.patches import Rectangle

import tinygen as tg
from tinygen import plot, training
from tinygen.nn import functional as F
from tinygen.plot.figure import COLORS, GREY, new_figure

args = training.parser(__doc__, device="cpu").parse_args()
run = training.start("transposed_convolution", args)


def numbers(x) -> str:
    """1, 2, 3 of [[[1., 2., 3.]]]."""
    return "  ".join(f"{v:2g}" for v in np.ravel(x.tolist()))


def row(*values: float) -> tg.Tensor:
    """One example of one channel: (1, 1, length)."""
    return tg.tensor([[values]], dtype=tg.float32, device=args.device)


def show(M: np.ndarray) -> None:
    for line in M:
        print("   ", " ".join(f"{v:2g}" if v else " ·" for v in line))


# --- The matrix -------------------------------------------------------------------------------------------------------

kernel = row(1, 2, 3)
M = F.conv_matrix(kernel, (1, 7)).toarray()
print("The kernel 1 2 3 on 7 numbers, as a matrix of 5 × 7: y = M x.")
show(M)
print("Its transpose, 7 × 5: x = Mᵀ y.  Every column is the kernel, one further down than the last.")
show(M.T)

x = tg.arange(1.0, 8, device=args.device).reshape(1, 1, 7).requires_grad_()
y, g = F.conv1d(x, kernel), row(1, 0, 0, 2, 0)
(back,) = tg.grad(y, x, g)
print("\nA gradient goes back through y = M x as Mᵀ g; here g =", numbers(g))
print("    by tinygen's backward pass  ", numbers(back))
print("    by the matrix               ", numbers(M.T @ g.numpy().ravel()))
print("    by F.conv_transpose1d       ", numbers(F.conv_transpose1d(g, kernel)))

# --- The two listings of the slides ------------------------------------------------------------------------------------

x = row(0, 0, 1, 0, 0, 0, 0)
print("\nA single 1, x =", numbers(x))
print("    F.conv1d(x, [1, 2, 3])               ", numbers(F.conv1d(x, kernel)), "     the kernel, read backwards")
print("    F.conv_transpose1d(x, [1, 2, 3])     ", numbers(F.conv_transpose1d(x, kernel)), "     the kernel, as it is")

x, turns = row(2, 3, 0, -1), row(1, 2, -1)
grown = F.conv_transpose1d(x, turns)
print("\nx =", numbers(x), "   κ =", numbers(turns))
for i, value in enumerate(x.flatten().tolist()):
    copy = np.zeros(6)
    copy[i : i + 3] += value * turns.numpy().ravel()
    print(f"    {value:2g} × κ, moved on by {i}    ", numbers(copy))
print("    sum                      ", numbers(grown), "  = F.conv_transpose1d(x, κ)")

# --- Stride, padding, dilation, in both directions ------------------------------------------------------------------------

OPTIONS = {"plain": {}, "stride=2": {"stride": 2}, "padding=1": {"padding": 1}, "dilation=2": {"dilation": 2}}
MEANING = {
    "plain": ("every position of the kernel", "copies one apart"),
    "stride=2": ("every second position in x", "copies two apart in x"),
    "padding=1": ("a zero at both ends of x", "one number cut off both ends of x"),
    "dilation=2": ("the kernel 1 0 2 0 3", "copies of 1 0 2 0 3"),
}
matrices = {name: F.conv_matrix(kernel, (1, 7), **options).toarray() for name, options in OPTIONS.items()}

print(
    "\nOptions are meant for the longer side: the input of a convolution, the output of its transpose.  Kernel 1 2 3."
)
rows = []
for name, options in OPTIONS.items():
    x, y = row(*range(1, 8)), row(*[1] * len(matrices[name]))
    rows.append((name, "1 2 3 4 5 6 7", numbers(F.conv1d(x, kernel, **options)), MEANING[name][0]))
print(training.table(rows, ("convolution", "x", "y", "")))
rows = []
for name, options in OPTIONS.items():
    y = row(*[1] * len(matrices[name]))
    rows.append(
        (name, numbers(y).replace("  ", ""), numbers(F.conv_transpose1d(y, kernel, **options)), MEANING[name][1])
    )
print("\n" + training.table(rows, ("transposed", "y", "x", "")))

# --- Sizes --------------------------------------------------------------------------------------------------------------

print("\nSizes, for a kernel of w and a stride of s (÷ is rounded down):")
print("    convolution   W → (W - w) ÷ s + 1        transposed   W → (W - 1) s + w")
rows = []
for W, w, s in ((28, 5, 1), (20, 4, 2), (9, 3, 2), (10, 3, 2), (28, 4, 2), (28, 5, 2)):
    x, k = tg.zeros(1, 1, W), tg.zeros(1, 1, w)
    small = F.conv1d(x, k, stride=s)
    large = F.conv_transpose1d(small, k, stride=s)
    lost = W - large.shape[2]
    why = f"{W} = {w} + {s} · {(W - w) // s}" if not lost else f"{W} - {w} is no multiple of {s}: output_padding={lost}"
    rows.append((w, s, W, small.shape[2], large.shape[2], why))
print(training.table(rows, ("w", "s", "W", "after conv", "and back", "W = w + s q for some q?")))
print(
    "Where the size does not come back, the convolution has not looked at the last pixels; output_padding says how many."
)

# --- Pictures -------------------------------------------------------------------------------------------------------------

INKS = {0: ("white", GREY), 1: ("#CFE3F2", "black"), 2: ("#7FB5DC", "black"), 3: ("#2E79B5", "white")}


def cell(axes, i: float, j: float, value: float, color: str = "white", ink: str = "black") -> None:
    axes.add_patch(Rectangle((j, i), 1, 1, facecolor=color, edgecolor="0.8", linewidth=0.6))
    axes.text(j + 0.5, i + 0.53, f"{value + 0:g}", ha="center", va="center", fontsize=8, color=ink)


def frame(axes, nrows: float, ncols: float, title: str, width: float = 0) -> None:
    """Panels of the same width (ncols, or more) have cells of the same size, and stand in its middle."""
    spare = 0.1 + max(width - ncols, 0) / 2
    axes.set(xlim=(-spare, ncols + spare), ylim=(nrows + 0.1, -0.1), aspect="equal", title=title)
    axes.axis("off")


title = "Convolutions with the kernel 1 2 3, and their transposes"
with new_figure(run.path("matrices.png"), 9.5, 5, title) as figure:
    for (above, below), (name, matrix) in zip(figure.subplots(2, 4).T, matrices.items()):
        for axes, values, label in ((above, matrix, f"{name}: M"), (below, matrix.T, "Mᵀ")):
            for (i, j), v in np.ndenumerate(values):
                cell(axes, i, j, v, *INKS[int(v)])
            frame(axes, 7, values.shape[1], f"{label}, {len(values)} × {values.shape[1]}", width=7)

taps, few, many = (t.flatten().tolist() for t in (turns, row(2, 3, 0, -1), grown))
with new_figure(run.path("two_views.png"), 9.5, 3.4, None) as figure:
    left, right = figure.subplots(1, 2)
    for j, v in enumerate(many):
        cell(left, 0, j, v, "0.93")
        cell(right, 4.3, 2 + j, v)
    for i, v in enumerate(few):
        cell(left, i + 1.3, 7, sum(tap * many[i + a] for a, tap in enumerate(taps)))
        cell(right, i, 0, v, "0.93")
        for axes, x, y in ((left, 6.5, i + 1.83), (right, 1.5, i + 0.53)):
            axes.text(x, y, "→", ha="center", va="center", color=GREY)
        for a, tap in enumerate(taps):
            cell(left, i + 1.3, i + a, tap, COLORS[i], "white")
            cell(right, i, 2 + i + a, v * tap, COLORS[i], "white")
    right.text(1.5, 4.83, "sum", ha="center", va="center", color=GREY)
    frame(left, 6, 8, "convolution: inner products with κ = 1 2 −1\n6 numbers (grey) give 4")
    frame(right, 6, 8, "transposed: a weighted sum of translated κ\n4 numbers (grey) give 6")

plane = F.conv_matrix(tg.arange(1.0, 10).reshape(1, 1, 3, 3), (1, 5, 5)).toarray()
with new_figure(
    run.path("plane.png"), 7.6, 3, "A 3 × 3 kernel on 5 × 5 pixels: 9 × 25, a band of banded blocks"
) as figure:
    axes = figure.add_subplot()
    axes.imshow(np.where(plane == 0, np.nan, plane), cmap="viridis", vmin=0, vmax=10)
    for i, j in np.argwhere(plane):
        ink = "white" if plane[i, j] < 7 else "black"
        axes.text(j, i, f"{plane[i, j]:g}", ha="center", va="center", fontsize=7, color=ink)
    axes.set_xticks(np.arange(-0.5, 25, 5), [])
    axes.set_yticks(np.arange(-0.5, 9, 3), [])
    axes.grid(color=GREY, linewidth=0.8)
    axes.tick_params(length=0)
    axes.set_xlabel("five columns: a row of pixels of the input")
    axes.set_ylabel("three rows: a row\nof the output")
    axes.spines[:].set_visible(True)

sizes, strides = range(3, 17), (1, 2, 3, 4)
plot.matrix(
    [[(W - 3) % s for W in sizes] for s in strides],
    run.path("sizes.png"),
    row_labels=[f"stride {s}" for s in strides],
    col_labels=list(sizes),
    title="How many of W numbers a kernel of 3 leaves out (·: none, W = 3 + s q comes back whole)",
    fmt=".0f",
)
print(f"\nPictures: {run.path('matrices.png').parent}")
