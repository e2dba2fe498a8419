"""The same models in PyTorch and in tinygen: only the import changes, and the weights move in a safetensors file.

Six models of the course are built twice, by functions that are handed the library.  PyTorch's weights are moved to tinygen
and back, and every bit must return.  Then both libraries take ten steps of Adam on the same images with the same noise, and
are compared after each; at last the weights that tinygen trained are moved to PyTorch, which must draw the same with them.
A table is printed; the pictures are in runs/from_pytorch/:

    float64.png   the largest difference of a parameter or buffer after each step, in learning rates
    float32.png   the same in everyday precision

    python examples/from_pytorch.py --data mnist     # a minute; needs PyTorch, as nothing else here does

Both libraries are right and both round, in another order.  In float64 that is all that is seen.  In float32 a few weights
differ by a good part of a step, or by several: Adam divides a gradient by its own size, so where all of it is rounding error,
the error alone decides which way the weight goes; and a ReLU at the brink opens in one library and not in the other.
Neither is always nearer to the truth: the second table holds both against float64.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygen as tg
from tinygen import data, interchange, plot, training

SETS = {"digits": data.digits, "mnist": data.mnist, "fashion": data.fashion_mnist}
parser = training.parser(__doc__, batch_size=50, lr=1e-3)
parser.add_argument("--data", choices=SETS, default="digits", help="images to learn from (default digits)")
args = parser.parse_args()
try:
    import torch
    from safetensors.torch import load_file as load_in_pytorch
    from safetensors.torch import save_file as save_in_pytorch
except ImportError:
    print("This example holds tinygen against PyTorch, which is not installed here: pip install torch")
    sys.exit()
tg.set_default_device(training.select_device(args.device))  # PyTorch stays on the CPU
run = training.start("from_pytorch", args)


@dataclass
class Program:
    """A model, what it makes of data x and noise z, and the loss of each part (path) that an optimizer of its own trains."""

    model: Any
    output: Callable[[Any, Any], Any]
    losses: dict[str, Callable[[Any, Any], Any]]


# --- The models.  `torch` is PyTorch or tinygen: nothing else differs. -------------------------------------------------


def autoencoder(torch: Any) -> Program:
    """D0: 784-256-10-256-784, a ReLU on the code, squared error."""
    nn = torch.nn
    model = nn.Sequential(
        *(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10), nn.ReLU()),
        *(nn.Linear(10, 256), nn.ReLU(), nn.Linear(256, 784), nn.Sigmoid()),
    )
    return Program(model, lambda x, z: model(x), {"": lambda x, z: ((model(x) - x) ** 2).sum(1).mean()})


def vae(torch: Any) -> Program:
    """D0: 784-400-20-400-784; binary cross-entropy and KL, in nats."""
    nn, F = torch.nn, torch.nn.functional
    model = nn.ModuleDict(
        {
            "encoder": nn.Sequential(nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 2 * 20)),
            "decoder": nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784), nn.Sigmoid()),
        }
    )

    def forward(x: Any, z: Any) -> tuple[Any, Any, Any]:
        mu, logvar = model["encoder"](x).chunk(2, 1)
        return model["decoder"](mu + torch.exp(0.5 * logvar) * z), mu, logvar

    def loss(x: Any, z: Any) -> Any:
        output, mu, logvar = forward(x, z)
        kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        return (F.binary_cross_entropy(output, x, reduction="sum") + kl) / len(x)

    return Program(model, lambda x, z: forward(x, z)[0], {"": loss})


def conv_autoencoder(torch: Any) -> Program:
    """D4: 28 → 24 → 20 → 9 → 4 → 1 by convolutions, and back by their transposes; a code of 8 numbers."""
    nn, F = torch.nn, torch.nn.functional
    model = nn.ModuleDict(
        {
            "encoder": nn.Sequential(
                *(nn.Conv2d(1, 32, kernel_size=5), nn.ReLU()),
                *(nn.Conv2d(32, 32, kernel_size=5), nn.ReLU()),
                *(nn.Conv2d(32, 32, kernel_size=4, stride=2), nn.ReLU()),
                *(nn.Conv2d(32, 32, kernel_size=3, stride=2), nn.ReLU()),
                nn.Conv2d(32, 8, kernel_size=4),
            ),
            "decoder": nn.Sequential(
                *(nn.ConvTranspose2d(8, 32, kernel_size=4), nn.ReLU()),
                *(nn.ConvTranspose2d(32, 32, kernel_size=3, stride=2), nn.ReLU()),
                *(nn.ConvTranspose2d(32, 32, kernel_size=4, stride=2), nn.ReLU()),
                *(nn.ConvTranspose2d(32, 32, kernel_size=5), nn.ReLU()),
                nn.ConvTranspose2d(32, 1, kernel_size=5),
            ),
        }
    )

    def output(x: Any, z: Any) -> Any:
        return model["decoder"](model["encoder"](x))

    return Program(model, output, {"": lambda x, z: F.mse_loss(output(x, z), x)})


def game(torch: Any, generator: Any, discriminator: Any) -> Program:
    """The GAN of D0 with any two players.  The generator's loss is the non-saturating one; both are in nats."""
    F = torch.nn.functional
    model = torch.nn.ModuleDict({"generator": generator, "discriminator": discriminator})

    def discriminator_loss(x: Any, z: Any) -> Any:
        real, fake = discriminator(2 * x - 1), discriminator(generator(z).detach())
        return F.softplus(-real).mean() + F.softplus(fake).mean()

    def generator_loss(x: Any, z: Any) -> Any:
        return F.softplus(-discriminator(generator(z))).mean()

    losses = {"discriminator": discriminator_loss, "generator": generator_loss}
    return Program(model, lambda x, z: generator(z), losses)


def gan(torch: Any) -> Program:
    """D0: 256, 512 and 1024 hidden units, backwards in the discriminator; without dropout, whose draws are each library's own."""
    nn = torch.nn
    generator = nn.Sequential(
        *(nn.Linear(100, 256), nn.ReLU(), nn.Linear(256, 512), nn.ReLU()),
        *(nn.Linear(512, 1024), nn.ReLU(), nn.Linear(1024, 784), nn.Tanh()),
    )
    discriminator = nn.Sequential(
        *(nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 512), nn.ReLU()),
        *(nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 1)),
    )
    return game(torch, generator, discriminator)


def dcgan(torch: Any) -> Program:
    """Radford et al. 2016 for 28×28 pixels.  Batch normalisation has state besides its parameters: it moves too."""
    nn = torch.nn
    generator = nn.Sequential(
        *(nn.Linear(100, 128 * 7 * 7, bias=False), nn.Unflatten(1, (128, 7, 7)), nn.BatchNorm2d(128), nn.ReLU()),
        *(nn.ConvTranspose2d(128, 64, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()),
        *(nn.ConvTranspose2d(64, 1, 4, stride=2, padding=1), nn.Tanh()),
    )
    discriminator = nn.Sequential(
        *(nn.Conv2d(1, 64, 4, stride=2, padding=1), nn.LeakyReLU(0.2)),
        *(nn.Conv2d(64, 128, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(128), nn.LeakyReLU(0.2)),
        *(nn.Flatten(), nn.Linear(128 * 7 * 7, 1)),
    )
    return game(torch, generator, discriminator)


def realnvp(torch: Any) -> Program:
    """D4: eight affine couplings in the plane; the loss is −log p(x), in nats."""
    nn = torch.nn

    class Coupling(nn.Module):
        def __init__(self, passes: int):
            super().__init__()
            self.register_buffer("mask", torch.tensor([1.0 - passes, float(passes)]))
            self.scale = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2), nn.Tanh())
            self.shift = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))

        def forward(self, x: Any) -> tuple[Any, Any]:
            b = self.mask
            s, t = self.scale(b * x), self.shift(b * x)
            return b * x + (1 - b) * (x * s.exp() + t), ((1 - b) * s).sum(1)

    model = nn.Sequential(*(Coupling(i % 2) for i in range(8)))

    def log_prob(x: Any, z: Any) -> Any:
        logdet = 0.0
        for layer in model:
            x, part = layer(x)
            logdet = logdet + part
        return logdet - 0.5 * (x**2 + np.log(2 * np.pi)).sum(1)

    return Program(model, log_prob, {"": lambda x, z: -log_prob(x, z).mean()})


PROGRAMS = {  # the model, the shape of its data, the size of its noise
    "autoencoder": (autoencoder, (784,), 0),
    "VAE": (vae, (784,), 20),
    "conv autoencoder": (conv_autoencoder, (1, 28, 28), 0),
    "GAN": (gan, (784,), 100),
    "DCGAN": (dcgan, (1, 28, 28), 100),
    "RealNVP": (realnvp, (2,), 0),
}


# --- The comparison ----------------------------------------------------------------------------------------------------

STEPS = 2 if args.dry_run else 10
# How much the libraries may differ: outputs and gradients, relative to the largest; parameters, in learning rates.
# Outputs and gradients are sums of some thousand rounded terms.  Adam's step g / (|g| + 1e-8) makes at most 1e8 of an error
# in g; where float32's error is as large as that, a step may go one learning rate up here and one down there.
ALLOWED = {"float64": (1e-12, 1e-4), "float32": (1e-4, 2.0 * STEPS)}

Numbers = dict[str, np.ndarray]


def numbers(x: Any) -> np.ndarray:
    """The values of either library's tensor, of any device: a copy."""
    return np.array(x.detach().cpu().numpy())


def state(program: Program) -> Numbers:
    """Parameters and buffers."""
    return {name: numbers(value) for name, value in program.model.state_dict().items()}


def output(torch: Any, program: Program, x: np.ndarray, z: np.ndarray) -> Numbers:
    """What the model makes of x and z in evaluation."""
    program.model.eval()
    return {"output": numbers(program.output(torch.tensor(x), torch.tensor(z)))}


def gradients(torch: Any, program: Program, x: np.ndarray, z: np.ndarray) -> Numbers:
    """Of every part's own loss."""
    program.model.train()
    found = {}
    for part, loss in program.losses.items():
        program.model.zero_grad()
        loss(torch.tensor(x), torch.tensor(z)).backward()
        for name, p in program.model.get_submodule(part).named_parameters(part):
            found[name] = numbers(p.grad)
    return found


def train(torch: Any, program: Program, batches: list) -> Iterator[Numbers]:
    """A step of Adam per batch, for each part in turn.  The parameters and buffers after each."""
    program.model.train()
    parts = {part: program.model.get_submodule(part).parameters() for part in program.losses}
    optimizers = {part: torch.optim.Adam(parameters, args.lr) for part, parameters in parts.items()}
    for x, z in batches:
        for part, loss in program.losses.items():
            optimizers[part].zero_grad()
            loss(torch.tensor(x), torch.tensor(z)).backward()
            optimizers[part].step()
        yield state(program)


def difference(ours: Numbers, theirs: Numbers) -> np.ndarray:
    """|ours − theirs| of all elements of all tensors, which must have the same names."""
    if list(ours) != list(theirs):
        sys.exit(f"from_pytorch: the names are not the same: {list(ours)} and {list(theirs)}")
    return np.concatenate([np.abs(a - b).reshape(-1) for a, b in zip(ours.values(), theirs.values(), strict=True)])


def relative(ours: Numbers, theirs: Numbers) -> float:
    """The largest difference, relative to the largest value."""
    return float(difference(ours, theirs).max() / max(np.abs(b).max() for b in theirs.values()))


def compare(name: str, dtype: str) -> tuple[list, list[float], list]:
    """The row of the table; the largest difference after each step, in learning rates; the row of the second table."""
    build, shape, latent = PROGRAMS[name]
    rng = np.random.default_rng(args.seed)
    pool = data.two_moons(2000, 0.1, args.seed) if shape == (2,) else images
    batches = []
    for _ in range(STEPS):
        x = pool[rng.choice(len(pool), args.batch_size, replace=False)].reshape(-1, *shape)
        batches.append((x.astype(dtype), rng.standard_normal((len(x), latent)).astype(dtype)))

    torch.manual_seed(args.seed)
    theirs, ours = build(torch), build(tg)
    theirs.model.to(getattr(torch, dtype))
    ours.model.to(getattr(tg, dtype))
    start, file = state(theirs), run.path("weights.safetensors")

    # From PyTorch to tinygen ...
    save_in_pytorch(theirs.model.state_dict(), file)
    ours.model.load_state_dict(interchange.load_file(file))
    # ... and back
    interchange.save_file(ours.model.state_dict(), file)
    theirs.model.load_state_dict(load_in_pytorch(file))
    if difference(state(theirs), start).any() or difference(state(ours), start).any():
        sys.exit(f"from_pytorch: {name}: the weights that came back are not those that went")

    outputs = relative(output(tg, ours, *batches[0]), output(torch, theirs, *batches[0]))
    slopes = relative(gradients(tg, ours, *batches[0]), gradients(torch, theirs, *batches[0]))
    begin = state(theirs)
    by_tinygen, by_pytorch = list(train(tg, ours, batches)), list(train(torch, theirs, batches))
    steps = [difference(mine, other) / args.lr for mine, other in zip(by_tinygen, by_pytorch, strict=True)]

    errors = []
    if dtype == "float32":  # how far each is from PyTorch in float64, from the same weights
        exact = build(torch)
        exact.model.load_state_dict({name: torch.tensor(value) for name, value in begin.items()})
        exact.model.double()
        *_, end = train(torch, exact, [(x.astype("float64"), z.astype("float64")) for x, z in batches])
        errors = [difference(by[-1], end) / args.lr for by in (by_tinygen, by_pytorch)]

    # Trained in tinygen, used in PyTorch
    interchange.save_file(ours.model.state_dict(), file)
    theirs.model.load_state_dict(load_in_pytorch(file))
    last = relative(output(tg, ours, *batches[0]), output(torch, theirs, *batches[0]))

    relative_limit, step_limit = ALLOWED[dtype]
    fits = np.max([outputs, slopes, last]) <= relative_limit and np.max(steps) <= step_limit  # NaN fits nowhere
    row = [name, dtype, len(start), outputs, slopes, steps[-1].max(), steps[-1].mean(), last, "yes" if fits else "NO"]
    return row, [float(s.max()) for s in steps], [name, *(f(e) for e in errors for f in (np.max, np.mean))]


images = SETS[args.data]()[0].images
if images.shape[1:] == (8, 8):  # the embedded digits: every pixel three times, and a margin
    images = np.pad(images.repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2)))
if args.dry_run:
    args.batch_size = 4

rows = []
for dtype in ALLOWED:
    curves, errors = {}, []
    for name in training.progress(list(PROGRAMS), dtype):
        row, curves[name], error = compare(name, dtype)
        rows.append(row)
        errors.append(error)
    plot.curves(
        curves,
        run.path(f"{dtype}.png"),
        xlabel="step of Adam",
        ylabel="largest difference, learning rates",
        title=f"tinygen and PyTorch, trained side by side in {dtype}",
        logy=True,
    )

print("Every weight and buffer that went from PyTorch to tinygen and back came back bit for bit.\n")
headers = ("model", "dtype", "tensors", "outputs", "gradients", "largest", "mean", "outputs, trained", "as expected")
print(training.table(rows, headers))
print(
    f"""
outputs, gradients   the largest difference with the same weights, relative to the largest value
largest, mean        difference of the weights and buffers after {STEPS} steps of Adam, in learning rates
outputs, trained     the largest difference with the weights that tinygen trained, moved to PyTorch
as expected          no more than rounding explains: see ALLOWED in this file

Which is nearer to the truth?  Each library's float32 after {STEPS} steps against float64, in learning rates (with another
--seed it may be the other one):
"""
)
print(training.table(errors, ("model", "tinygen, largest", "mean", "PyTorch, largest", "mean ")))
print(f"\nPictures are in {run.folder}/")
if any(row[-1] == "NO" for row in rows):
    sys.exit("from_pytorch: some differ by more than rounding explains")
