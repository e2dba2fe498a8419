"""Watch the backward pass of two networks, one derivative rule at a time.

A two-layer network and a small variational autoencoder, both on the embedded 8x8 digits.  For each one, in
runs/watch_backprop/:

    network.txt, vae.txt      the pass as a table: rule, gradient in, gradient out, where it arrives, the line of this file
    network.svg, vae.svg      the computational graph
    network.html, vae.html    a page to step through: open it in a browser; it needs no network

    python examples/watch_backprop.py
    python examples/watch_backprop.py --epochs 0     # gradients at random weights: compare the pictures
"""

from __future__ import annotations

import numpy as np

import tinygen as tg
from tinygen import atomic, data, optim, plot, training
from tinygen.autograd import trace
from tinygen.models import BernoulliVAE
from tinygen.models.vae import kl_to_standard_normal

parser = training.parser(__doc__, batch_size=8)
parser.add_argument("--epochs", type=int, default=10, help="training before the pass is watched (default 10)")
parser.add_argument("--hidden", type=int, default=16, help="size of the hidden layers (default 16)")
args = parser.parse_args()
device = training.select_device(args.device)
run = training.start("watch_backprop", args)
epochs = min(args.epochs, 1) if args.dry_run else args.epochs
tg.manual_seed(args.seed)

train, _ = data.digits()
digits, classes = train.flat, np.eye(10, dtype=np.float32)[train.labels]  # (n, 64), and (n, 10): 1 for the right class
batches = data.DataLoader(data.TensorDataset(digits, classes), 64, shuffle=True, generator=args.seed, device=device)


def show(file: str, title: str, loss: tg.Tensor, names: dict[str, tg.Tensor]) -> None:
    """All three views of one pass; they come before backward(), which releases the graph."""
    steps = trace(loss, names=names)
    atomic.write(run.path(f"{file}.txt"), f"{steps}\n")
    plot.graph(loss, run.path(f"{file}.svg"), names=names)
    title = f"{title}: the backward pass, step by step"
    plot.graph_page(loss, run.path(f"{file}.html"), names=names, image_shape=(8, 8), title=title)
    loss.backward()
    leaves = {name: x for name, x in names.items() if x.grad is not None}
    assert all((x.grad == steps.gradient(x)).all() for x in leaves.values()), "the trace is what backward() does"
    print(f"{title}: {len(steps)} steps, loss {loss.item():.4g} nats")
    rows = [(name, str(x.shape), (x.grad**2).sum().sqrt().item()) for name, x in leaves.items()]
    print(training.table(rows, ("leaf", "shape", "norm of the gradient")), end="\n\n")


# A two-layer network in nothing but tensors: which of ten digits is it?
w1 = (tg.randn(64, args.hidden, device=device) / 8).requires_grad_()
b1 = tg.zeros(args.hidden, device=device, requires_grad=True)
w2 = (tg.randn(args.hidden, 10, device=device) / args.hidden**0.5).requires_grad_()
b2 = tg.zeros(10, device=device, requires_grad=True)
optimizer = optim.Adam([w1, b1, w2, b2], lr=0.01)
for _ in range(epochs):
    for x, y in batches:
        optimizer.zero_grad()
        loss = -(((x @ w1 + b1).tanh() @ w2 + b2).log_softmax(1) * y).sum(1).mean()
        loss.backward()
        optimizer.step()
optimizer.zero_grad()

x, y = (tg.as_tensor(a[: args.batch_size], device=device) for a in (digits, classes))
h = (x @ w1 + b1).tanh()
logits = h @ w2 + b2
loss = -(logits.log_softmax(1) * y).sum(1).mean()  # cross-entropy, in nats
names = {"x": x, "y": y, "W1": w1, "b1": b1, "W2": w2, "b2": b2, "h": h, "logits": logits, "loss": loss}
show("network", "A two-layer network", loss, names)

# A variational autoencoder: the gradient of its loss goes through a random sample
model = BernoulliVAE(64, args.hidden, latent=2).to(device)
optimizer = optim.Adam(model.parameters(), lr=0.003)
for _ in range(epochs):
    for x, _ in batches:
        optimizer.zero_grad()
        model.loss(x).backward()
        optimizer.step()
optimizer.zero_grad()

x = tg.as_tensor(digits[: args.batch_size], device=device)
mu, logvar = model.encode(x)
z = model.reparameterize(mu, logvar)
reconstruction = -model.log_prob_given(x, z)
kl = kl_to_standard_normal(mu, logvar)
loss = (reconstruction + kl).mean()
names = {"x": x, "mu": mu, "logvar": logvar, "z": z, "reconstruction": reconstruction, "kl": kl, "loss": loss}
show("vae", "A variational autoencoder", loss, {**dict(model.named_parameters()), **names})
print(f"Tables, graphs and pages are in {run.folder}/: open network.html in a browser.")
