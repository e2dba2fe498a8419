"""Prove the gradients of a layer that you wrote yourself, and read the report when they are wrong.

A dense layer with tanh, y = tanh(x Wᵀ + b), is written as one operator with three derivative rules.  One rule has a mistake
that training would not reveal: the loss still goes down, only the biases learn too slowly.  The check finds it, says where
it is and what it looks like.  Then five more mistakes that everybody makes once.

No picture: what it prints is the lesson.  docs/check_your_own_layer.md walks through it.
"""

from __future__ import annotations

import tinygen as tg
from tinygen import nn
from tinygen.engine import Op
from tinygen.testing import check_module, gradcheck

tg.manual_seed(0)


# 1. The operator.  forward computes with arrays (xp is NumPy or CuPy); a rule is handed g = dL/dy, the output, the inputs.
#    With a = x Wᵀ + b and y = tanh a:   dL/da = g (1 − y²) = d,   dL/dx = d W,   dL/dW = dᵀ x,   dL/db = Σ_batch d.
def forward(xp, x, w, b):
    return xp.tanh(x @ w.T + b)


def rule_x(g, out, x, w, b):
    return (g * (1 - out**2)) @ w


def rule_w(g, out, x, w, b):
    return tg.mT(g * (1 - out**2)) @ x


def rule_b(g, out, x, w, b):
    return (g * (1 - out**2)).mean(0)  # "the loss is an average over the batch, so I average here"


# 2. The layer.
class Dense(nn.Module):
    """y = tanh(x Wᵀ + b).  x: (batch, n), y: (batch, m)."""

    def __init__(self, n, m, operator):
        super().__init__()
        self.weight = nn.Parameter(tg.randn(m, n) / n**0.5)
        self.bias = nn.Parameter(tg.randn(m))
        self.operator = operator

    def forward(self, x):
        return self.operator(x, self.weight, self.bias)


# 3. The check: inputs and parameters, first and second derivatives, against finite differences in float64.
dense = Op(forward, rule_x, rule_w, rule_b, name="dense")
x = tg.randn(5, 3)
print("A layer with a mistake:\n")
print(gradcheck(Dense(3, 4, dense), x))


# 4. The fix: every example of the batch moves the loss through the same b, and contributions add up.  (To return d alone
#    would do as well: the engine sums over the axes along which b was broadcast.)
def right_rule_b(g, out, x, w, b):
    return (g * (1 - out**2)).sum(0)


dense = Op(forward, rule_x, rule_w, right_rule_b, name="dense")
print("\nAfter the fix:\n")
print(gradcheck(Dense(3, 4, dense), x))

# 5. For your test file: one line, and pytest tries many inputs, training and evaluation mode, float32, saving and loading,
#    and a strict double of the GPU's array library.
test_dense = check_module(lambda: Dense(3, 4, dense))
test_dense()
print("\nThe property test passes.")


# 6. Five mistakes that everybody makes once.  All of them survive a look at the loss curve.
def first_example_only(g, out, x, b):
    """y = x + b: the batch is forgotten, as if there were one example."""
    return g[0]


def forgotten_mean(g, out, x, target):
    """The mean of (x − t)²: the derivative of the sum."""
    return 2 * g * (x - target)


def softmax_zero(g, out, x):
    """Looks right after softmax(x).sum().backward(), because the sum is always 1."""
    return g * 0


def swapped(g, out, x, w):
    """y = x W with a square W, where no shape complains."""
    return g @ w


def kl_sign(g, out, mu, s):
    """KL(N(μ, e^s) ‖ N(0, 1)) = Σ ½ (μ² + e^2s − 1) − s: the sign of the last term."""
    return g.reshape(-1, 1) * (tg.exp(2 * s) + 1)


def softmax(xp, x):
    e = xp.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def of_first(g, out, x, *others):
    """The right rule for the first argument of `add` and of the KL term, which are not in question here."""
    return g if g.shape == x.shape else g.reshape(-1, 1) * x


add = Op(lambda xp, x, b: x + b, of_first, first_example_only, name="add_bias")
mse = Op(lambda xp, x, t: ((x - t) ** 2).mean(), forgotten_mean, name="mean_squared_error")
soft = Op(softmax, softmax_zero, name="softmax")
linear = Op(lambda xp, x, w: x @ w, swapped, lambda g, out, x, w: tg.mT(x) @ g, name="linear")
kl = Op(lambda xp, mu, s: (0.5 * (mu**2 + xp.exp(2 * s) - 1) - s).sum(1), of_first, kl_sign, name="kl")

mistakes = {
    "1. The bias gradient without the sum over the batch": (add, tg.randn(5, 3), tg.randn(3)),
    "2. A forgotten 1/N": (mse, tg.randn(5, 3, requires_grad=True), tg.randn(5, 3)),  # only this one is checked
    "3. A softmax with zero gradient": (soft, tg.randn(5, 3)),
    "4. A transpose at the wrong place": (linear, tg.randn(5, 3), tg.randn(3, 3)),
    "5. A wrong sign in the KL term": (kl, tg.randn(5, 3), tg.randn(5, 3)),
}
for title, (operator, *inputs) in mistakes.items():
    print(f"\n{title}:\n")
    print(gradcheck(operator, *inputs))
