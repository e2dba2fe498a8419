"""Give the library an operator that it does not have, prove its derivative, and train with it.

The operator is swish with a learned slope, f(x, β) = x · sigmoid(β x): for β = 0 a straight line, for large β a ReLU.  It
takes a forward function and one derivative rule per argument.  The rules are written with tinygen's operators, so they
can be differentiated again.  Then a rule with a typical mistake is tried, to see what the check says.

Picture, in runs/write_your_own_op/: fit.png, a curve and the network that learned it with this activation.

Source of the activation: Ramachandran, Zoph, Le, "Searching for activation functions", 2017.
"""

from __future__ import annotations

import numpy as np

import tinygen as tg
from tinygen import nn, optim, plot, training
from tinygen.engine import Op
from tinygen.testing import gradcheck

args = training.parser(__doc__, epochs=1500, lr=1e-2, device="cpu").parse_args()
run = training.start("write_your_own_op", args)
tg.manual_seed(args.seed)


# 1. The forward function: xp is the array library (numpy or cupy), x and beta are its arrays.
def forward(xp, x, beta):
    return x / (1 + xp.exp(-beta * x))


# 2. One rule per argument: g is dL/d(out); what is returned is dL/d(argument).  With s = sigmoid(βx):
#    ∂f/∂x = s + βx s (1 − s),   ∂f/∂β = x² s (1 − s).   That β is broadcast over x is undone by the engine.
def rule_x(g, out, x, beta):
    s = tg.sigmoid(beta * x)
    return g * (s + beta * x * s * (1 - s))


def rule_beta(g, out, x, beta):
    s = tg.sigmoid(beta * x)
    return g * x**2 * s * (1 - s)


swish = Op(forward, rule_x, rule_beta, name="swish")

# 3. The proof: first and second derivatives against finite differences, in random directions.
x, beta = tg.randn(4, 3), tg.tensor(1.5)
print("The operator with the right rules:")
print(gradcheck(swish, x, beta), "\n")

forgot_a_term = Op(forward, lambda g, out, x, beta: g * tg.sigmoid(beta * x), rule_beta, name="swish")
print("The same with s instead of s + βx s (1 − s) in the first rule:")
print(gradcheck(forgot_a_term, x, beta), "\n")


# 4. The use: a layer with β as a parameter, in a network that learns a curve.
class Swish(nn.Module):
    """f(x) = x · sigmoid(β x), element by element, with one learned β."""

    def __init__(self):
        super().__init__()
        self.beta = nn.Parameter(tg.ones(()))

    def forward(self, x):
        return swish(x, self.beta)


points = tg.linspace(-3, 3, 200).unsqueeze(1)
target = tg.sin(2 * points) + 0.3 * points
network = nn.Sequential(nn.Linear(1, 32), Swish(), nn.Linear(32, 32), Swish(), nn.Linear(32, 1))
optimizer = optim.Adam(network.parameters(), lr=args.lr)
with tg.no_grad():
    untrained = network(points)
for _ in (bar := training.progress(range(20 if args.dry_run else args.epochs), "fitting a curve")):
    optimizer.zero_grad()
    loss = ((network(points) - target) ** 2).mean()
    loss.backward()
    optimizer.step()
    bar.set(error=loss.item())

with tg.no_grad():
    fitted = network(points)
variance = float(np.var(target.numpy()))
print(f"Mean squared error {loss.item():.2e}; answering with the mean: {variance:.2f}.")
print(f"The learned slopes: β = {network[1].beta.item():.2f} and {network[3].beta.item():.2f}, from 1 at the start.")
axis = points.numpy()[:, 0]
plot.curves(
    {
        "the curve to learn": (axis, target.numpy()[:, 0]),
        "network before training": (axis, untrained.numpy()[:, 0]),
        "network after training": (axis, fitted.numpy()[:, 0]),
    },
    run.path("fit.png"),
    xlabel="x",
    ylabel="y",
    title=f"learned to a squared error of {loss.item():.0e}",
)
print(f"Picture: {run.path('fit.png')}")
