"""Whole training steps (forward, backward, Adam) in other libraries and in NumPy without any, beside tinygen and PyTorch.

    pip install jax autograd mygrad tinygrad            # those that are to take part; tinygrad also needs clang
    python benchmarks/peers.py                          # MLP and conv autoencoder and VAE, batch 100, 1 and 2 threads
    python benchmarks/peers.py ae vae --batch 64 128 --threads 1
    python benchmarks/peers.py --quick                  # seconds: does everything run, and agree

All start from the same weights and data and draw the same noise, and must agree in their first losses.  Each works in a
process of its own with the number of threads fixed, and they take turns.  Every number is a ratio: the median over the rounds
of (the library's time / PyTorch's with its defaults), below 1 is faster.

A peer is a function below: it takes a model's name, its parameters as NumPy arrays, and the batch x, and returns
`step(*noise)`, which does one training step and returns the loss.  What several write alike is in LOSSES.
"""

import argparse
import importlib.metadata
import importlib.util
import math
import os
import shutil
from contextlib import ExitStack
from functools import partial
from statistics import median, quantiles

import floor
import models
import numpy as np
from floor import BETA1, BETA2, CODE, CONVOLUTIONS, EPSILON, RATE, SHAPES, Adam
from tuned import keep_pages
from workers import Worker, introduce, load, take_turns

# The losses, for libraries that look like NumPy


def linear(h, weight, bias):
    return h @ weight.T + bias


def ae_loss(np, p, x):
    h = x
    for i in range(0, 6, 2):
        h = np.maximum(linear(h, p[i], p[i + 1]), 0)
    y = 1 / (1 + np.exp(-linear(h, p[6], p[7])))
    return ((y - x) ** 2).sum()


def vae_loss(np, p, x, epsilon):
    h = np.maximum(linear(x, p[0], p[1]), 0)
    mean, log_var = linear(h, p[2], p[3]), linear(h, p[4], p[5])
    z = mean + np.exp(0.5 * log_var) * epsilon
    a = linear(np.maximum(linear(z, p[6], p[7]), 0), p[8], p[9])
    error = (np.maximum(a, 0) - a * x + np.log1p(np.exp(-np.abs(a)))).sum()
    return error - 0.5 * (1 + log_var - mean * mean - np.exp(log_var)).sum()


LOSSES = {"ae": ae_loss, "vae": vae_loss}


# The peers


def numpy(name, parameters, x):
    """No library: the derivatives are written out in floor.py."""
    keep_pages()
    return floor.training(name, parameters, x)


def jax(name, parameters, x):
    """JAX: the whole step is compiled by XLA, and may overwrite the old state."""
    keep_to_cores()
    import jax
    from jax import numpy as jnp
    from jax.lax import conv_general_dilated as conv

    def conv_ae_loss(jnp, p, x):
        h = x
        for i, (kind, _, _, k, stride) in enumerate(CONVOLUTIONS):
            w = p[2 * i]
            if kind == "conv":
                h = conv(h, w, (stride, stride), "VALID")
            else:  # a convolution of the input with zeros in between, by the kernel turned around
                w, edges = w[:, :, ::-1, ::-1].swapaxes(0, 1), [(k - 1, k - 1)] * 2
                h = conv(h, w, (1, 1), edges, lhs_dilation=(stride, stride))
            h = h + p[2 * i + 1][:, None, None]
            h = h if i in (CODE - 1, len(CONVOLUTIONS) - 1) else jnp.maximum(h, 0)
        return ((h - x) ** 2).mean()

    loss = jax.value_and_grad(partial(LOSSES.get(name, conv_ae_loss), jnp))

    @partial(jax.jit, donate_argnums=0)
    def update(state, x, *noise):
        p, m, v, t = state
        value, g = loss(p, x, *noise)
        t = t + 1
        m = [BETA1 * m + (1 - BETA1) * g for m, g in zip(m, g, strict=True)]
        v = [BETA2 * v + (1 - BETA2) * g * g for v, g in zip(v, g, strict=True)]
        rate, root = RATE / (1 - BETA1**t), jnp.sqrt(1 - BETA2**t)
        p = [p - rate * m / (jnp.sqrt(v) / root + EPSILON) for p, m, v in zip(p, m, v, strict=True)]
        return value, (p, m, v, t)

    zeros = lambda: [jnp.zeros(a.shape) for a in parameters]
    state, x = ([jnp.array(a) for a in parameters], zeros(), zeros(), jnp.zeros(())), jnp.array(x)

    def step(*noise):
        nonlocal state
        value, state = update(state, x, *noise)
        return float(jax.block_until_ready((value, state))[0])

    return step


def autograd(name, parameters, x):
    """HIPS autograd: NumPy's functions, each with a derivative; Adam is NumPy's."""
    import autograd
    import autograd.numpy

    loss = autograd.value_and_grad(partial(LOSSES[name], autograd.numpy))
    adam = Adam(parameters)

    def step(*noise):
        value, gradients = loss(adam.parameters, x, *noise)
        adam.step(gradients)
        return float(value)

    return step


def mygrad(name, parameters, x):
    """MyGrad: NumPy's functions on tensors, and `backward`; Adam is NumPy's."""
    import mygrad

    adam = Adam(parameters)

    def step(*noise):
        p = [mygrad.tensor(a, copy=False) for a in adam.parameters]
        value = LOSSES[name](mygrad, p, x, *noise)
        value.backward()
        adam.step([a.grad for a in p])
        return value.item()

    return step


def tinygrad(name, parameters, x):
    """tinygrad: the whole step is recorded by TinyJit and compiled into C, with its own Adam."""
    keep_to_cores()
    from tinygrad import Context, Tensor, TinyJit
    from tinygrad.nn.optim import Adam

    p = [Tensor(a).realize() for a in parameters]
    x, adam = Tensor(x).realize(), Adam(p, lr=RATE, eps=EPSILON)

    def dense(h, i):
        return h.linear(p[i].T, p[i + 1])

    def ae():
        h = x
        for i in range(0, 6, 2):
            h = dense(h, i).relu()
        return (dense(h, 6).sigmoid() - x).square().sum()

    def vae(epsilon):
        h = dense(x, 0).relu()
        mean, log_var = dense(h, 2), dense(h, 4)
        a = dense(dense(mean + (0.5 * log_var).exp() * epsilon, 6).relu(), 8)
        error = a.binary_crossentropy_logits(x, reduction="sum")
        return error - 0.5 * (1 + log_var - mean.square() - log_var.exp()).sum()

    def conv_ae():
        h = x
        for i, (kind, _, _, _, stride) in enumerate(CONVOLUTIONS):
            layer = h.conv2d if kind == "conv" else h.conv_transpose2d
            h = layer(p[2 * i], p[2 * i + 1], stride=stride)
            h = h if i in (CODE - 1, len(CONVOLUTIONS) - 1) else h.relu()
        return (h - x).square().mean()

    loss = {"ae": ae, "vae": vae, "conv-ae": conv_ae}[name]

    @TinyJit
    def update(*noise):
        adam.zero_grad()
        value = loss(*noise)
        value.backward()
        return value.realize(*adam.schedule_step())

    def step(*noise):
        with Context(TRAINING=1):
            return update(*(Tensor(a).realize() for a in noise)).item()

    return step


PEERS = {"numpy": numpy, "jax": jax, "autograd": autograd, "mygrad": mygrad, "tinygrad": tinygrad}
TITLES = {"numpy": "NumPy", "jax": "JAX", "autograd": "autograd", "mygrad": "MyGrad", "tinygrad": "tinygrad"}
LEFT_OUT = {
    ("autograd", "conv-ae"): "its only convolution, scipy.signal's, takes about a hundred times as long as PyTorch's",
    ("mygrad", "conv-ae"): "it has no transposed convolution; its convolution takes 6 to 8 times as long as PyTorch's",
}


def missing(peer):
    """Why a peer cannot take part here, or None."""
    if importlib.util.find_spec(peer) is None:
        return f"not installed: pip install {peer}"
    if peer == "tinygrad" and not shutil.which(os.environ.get("CC", "clang")):
        return "it compiles with clang, which is not here; CC may name another one"
    return None


# What a worker's process makes of them


class Arrays:
    """What takes PyTorch's place in a peer's process: NumPy's arrays and random numbers."""

    tensor = staticmethod(np.asarray)

    def __init__(self, library):
        self.library = library
        self.manual_seed(0)

    def manual_seed(self, seed):
        self._rng = np.random.default_rng(seed)

    def randn(self, *shape):
        return self._rng.standard_normal(shape, np.float32)


class Peer(models.Training):
    """A workload like those of models.py, with the same weights and data from the same generator, in another library."""

    def __init__(self, name, library, rng, batch):
        parameters = initial(rng, SHAPES[name])
        x = models.pixels(rng, batch)
        self.latent = (batch, 20) if name == "vae" else None
        self._step = PEERS[library](name, parameters, x.reshape(batch, 1, 28, 28) if name == "conv-ae" else x)

    def step(self, noise):
        return self._step(noise(*self.latent)) if self.latent else self._step()

    def check(self, noise):
        return [self.step(noise) for _ in range(self.checked_steps)]


def initial(rng, shapes):
    """The numbers that models.fill draws."""
    parameters = []
    for shape in shapes:
        if len(shape) > 1:
            bound = 1 / math.sqrt(math.prod(shape[1:]))
        parameters.append(rng.uniform(-bound, bound, shape).astype(np.float32))
    return parameters


def keep_to_cores():
    """As many cores as threads were asked for: JAX and tinygrad, which ask nobody, start one for every core they see."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[: int(os.environ["OMP_NUM_THREADS"])])


def workload(name, T, rng, batch):
    return Peer(name, T.library, rng, batch)


WORKLOADS = {name: partial(workload, name) for name in SHAPES}


# The table

OURS = ("tinygen", "compiled")
COLUMNS = (*OURS, "fused", "tuned", *TITLES.values())


def enter(stack, peers, threads):
    """{column: its worker}, PyTorch with its defaults last."""
    os.environ["NUM_CPU_THREADS"] = str(threads)  # tinygrad's; in a container it does not look at the cores
    start = lambda *what, **options: stack.enter_context(Worker(*what, threads, **options))
    return {
        **{name: start(name, "models") for name in OURS},
        "fused": start("torch", "models", fused=True),
        "tuned": start("torch", "tuned"),
        **{TITLES[peer]: start(peer, "peers") for peer in peers},
        "PyTorch": start("torch", "models"),
    }


def row(name, workers, batch, rounds, seconds):
    """PyTorch's ms, {column: ratio}, {column: half the distance of the ratio's quartiles}."""
    taking_part = {title: w for title, w in workers.items() if (w.library, name) not in LEFT_OUT}
    times = take_turns(list(taking_part.values()), name, batch, rounds, seconds)
    theirs = times[workers["PyTorch"]]
    ratios, spread = {}, {}
    for title, worker in list(taking_part.items())[:-1]:
        of_rounds = [a / b for a, b in zip(times[worker], theirs, strict=True)]
        low, ratios[title], high = quantiles(of_rounds, n=4) if len(of_rounds) > 1 else of_rounds * 3
        spread[title] = (high - low) / 2
    return median(theirs), ratios, spread


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help=f"which: {', '.join(WORKLOADS)} (default: all)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch", type=int, nargs="+", default=[100])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.25, help="of one library in one round")
    parser.add_argument("--quick", action="store_true", help="one short round, batch 4, 1 thread; no measurement")
    arguments = parser.parse_args()
    if unknown := set(arguments.models) - set(WORKLOADS):
        parser.error(f"no such model: {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}")
    if arguments.quick:
        arguments.threads, arguments.batch, arguments.rounds, arguments.seconds = [1], [4], 1, 0.02

    absent = {peer: why for peer in PEERS if (why := missing(peer))}
    peers = [peer for peer in PEERS if peer not in absent]
    introduce()
    versions = [f"{TITLES[p]} {importlib.metadata.version(p)}" for p in peers if p != "numpy"]
    print(
        f"beside them: {', '.join(versions) or 'no other library'}; {arguments.rounds} rounds of {arguments.seconds} s each"
    )
    print(
        "time as a multiple of PyTorch's with its defaults; fused: its fused Adam; tuned: fused Adam, channels last for"
    )
    print("convolutions, freed memory kept; NumPy: by hand, no engine; fastest: of the libraries\n")
    header = f"{'model':7} {'threads':>7} {'batch':>5} {'PyTorch ms':>10}" + "".join(f" {c:>8}" for c in COLUMNS)
    header += "  fastest"
    print(header + "\n" + "-" * len(header))
    widest = 0.0
    for threads in arguments.threads:
        with ExitStack() as stack:
            workers = enter(stack, peers, threads)
            for name in arguments.models or WORKLOADS:
                for batch in arguments.batch:
                    ms, ratios, spread = row(name, workers, batch, arguments.rounds, arguments.seconds)
                    cells = "".join(f" {ratios[c]:8.3f}" if c in ratios else f" {'-':>8}" for c in COLUMNS)
                    libraries = {"PyTorch": 1.0} | {c: r for c, r in ratios.items() if c != "NumPy"}
                    fastest = min(libraries, key=libraries.get)
                    print(f"{name:7} {threads:7} {batch:5} {ms:10.3f}{cells}  {fastest}", flush=True)
                    widest = max(widest, *(spread[c] / ratios[c] for c in ratios))
    print(f"\nthe quartiles of a ratio lie at most {widest:.0%} from it; load {load()} at the end")
    for (peer, name), why in LEFT_OUT.items():
        if peer in peers and name in (arguments.models or WORKLOADS):
            print(f"- {TITLES[peer]} without {name}: {why}")
    for peer, why in absent.items():
        print(f"- {TITLES[peer]} does not take part: {why}")


if __name__ == "__main__":
    main()
