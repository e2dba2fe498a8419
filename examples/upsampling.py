"""Six ways to double an image's size, and the checkerboard that some of them leave.

A decoder has to make many pixels of few.  What it makes of a *constant* picture should be constant; what is not shows the
way's own pattern.  With stride 2 the pixel (i, j) is computed by the same rule as (i + 2, j + 2), but maybe by another one than
(i + 1, j): so the pattern repeats every 2 pixels (every 4 after two stages), and its share of the response's energy is

    ripple = Σ_{f≠0} |Y(f)|² / Σ_f |Y(f)|²     over the frequencies f that are multiples of ¼ cycle per pixel,

0 for a flat response, 1 for nothing but pattern.  Both sums also go over 100 constants, features that the decoder meets.

Where does it come from?  A kernel of 3 that moves by 2 reaches every second pixel twice: 1, 2 or 4 weights per pixel.  A
kernel of 4 reaches all pixels with 4 weights, but not with the same ones; a pixel shuffle has weights of its own for every
second pixel, too.  Such decoders start with a checkerboard, and training need not remove it.  Only to resize first, and then
to convolve, computes all pixels alike: no ripple, before training and after.  The price is that such a decoder is smoother.
(Unpooling and a convolution of 3 are the same linear map as a transposed convolution of 3; only the starting values differ.)

The autoencoders are small ones, equal but for the last two stages of the decoder.  In their answers to test images pattern and
picture cannot be told apart so cleanly.  There the share of energy within ⅛ cycle per pixel of the stride's frequency, ½, is
compared with that of real images.  Pictures, in runs/upsampling/:

    constant.png          answers to a constant: five starting points, then the trained decoder (grey: the mean)
    reconstructions.png   test images, and the answers of the trained autoencoders
    spectrum.png          how the energy of the answers spreads over the frequencies, beside that of real images

    python examples/upsampling.py --data digits      # half a minute, no download
    python examples/upsampling.py --data mnist       # some minutes

Sources: Odena, Dumoulin, Olah 2016, "Deconvolution and checkerboard artifacts"; Shi et al. 2016 (pixel shuffle); deck D3.
"""

from __future__ import annotations

import re

import numpy as np
from common import is_small, load, to_show

import tinygen as tg
from tinygen import data, evaluate, nn, optim, plot, training
from tinygen.models.conv_autoencoder import in_batches
from tinygen.nn import functional as F

CHANNELS = (32, 16)  # of the pictures that the two stages double


class Unpool(nn.Module):
    """Every value in the upper left corner of 2 × 2 pixels, zeros beside it: (N, C, H, W) -> (N, C, 2 H, 2 W)."""

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        height, width = x.shape[2:]
        rows, columns = tg.arange(height, device=x.device), tg.arange(width, device=x.device)
        corners = 2 * rows.unsqueeze(1) * (2 * width) + 2 * columns
        return F.max_unpool2d(x, corners.expand(*x.shape), 2)


def nearest(i: int, o: int) -> nn.Module:
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(i, o, 3, padding=1))


def bilinear(i: int, o: int) -> nn.Module:
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(i, o, 3, padding=1))


def unpooling(i: int, o: int) -> nn.Module:
    return nn.Sequential(Unpool(), nn.Conv2d(i, o, 3, padding=1))


def shuffle(i: int, o: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(i, 4 * o, 3, padding=1), nn.PixelShuffle(2))


def transposed3(i: int, o: int) -> nn.Module:
    return nn.ConvTranspose2d(i, o, 3, stride=2, padding=1, output_padding=1)


def transposed4(i: int, o: int) -> nn.Module:
    return nn.ConvTranspose2d(i, o, 4, stride=2, padding=1)


WAYS = {  # the first stage, the last stage
    "nearest + conv 3": (nearest, nearest),
    "bilinear + conv 3": (bilinear, bilinear),
    "unpooling + conv 3": (unpooling, unpooling),
    "conv 3 + pixel shuffle": (shuffle, shuffle),
    "transposed conv 3": (transposed3, transposed3),
    "the same, last stage only": (nearest, transposed3),
    "transposed conv 4": (transposed4, transposed4),
}


class Autoencoder(nn.Module):
    """Two convolutions of stride 2, a code of 16 numbers, and two stages that double the size, ways[0] and ways[1]."""

    def __init__(self, ways, image):
        super().__init__()
        wide, narrow = CHANNELS
        colours, height, width = image
        least = (wide, height // 4, width // 4)
        self.encode = nn.Sequential(
            nn.Conv2d(colours, narrow, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(narrow, wide, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(int(np.prod(least)), 16),
        )
        self.spread = nn.Sequential(nn.Linear(16, int(np.prod(least))), nn.ReLU(), nn.Unflatten(1, least))
        self.double = nn.Sequential(ways[0](wide, narrow), nn.ReLU(), ways[1](narrow, colours))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.double(self.spread(self.encode(x)))


@tg.no_grad()
def responses_to_constants(model: Autoencoder, x: tg.Tensor, n: int = 100) -> np.ndarray:
    """What the two stages make of n constant pictures: (n, 16, 16), in colour (3 n, 16, 16), far from any border.

    The constants are features as the decoder has them for these images, each taken from some place of one image.
    """
    features = model.spread(model.encode(x)).permute(0, 2, 3, 1).reshape(-1, CHANNELS[0], 1, 1)
    features = features[np.random.default_rng(0).permutation(len(features))[:n].tolist()]
    y = model.double(features.expand(len(features), CHANNELS[0], 12, 12))
    return y.cpu().numpy()[:, :, 16:32, 16:32].astype(np.float64).reshape(-1, 16, 16)


def ripple(y: np.ndarray) -> float:
    """The share of the responses' energy that is not constant, in %; 0 where it is only rounding."""
    share = float(1 - (y.mean((1, 2)) ** 2).sum() / (y**2).mean((1, 2)).sum())
    return 100 * share if share > 1e-6 else 0.0


def weights_per_pixel(way) -> str:
    """How many weights of one stage reach a pixel: the response to ones of kernels of ones."""
    stage = way(1, 1)
    for p in stage.parameters():
        nn.init.constant_(p, float(p.ndim > 1))
    counts = stage(tg.ones(1, 1, 6, 6)).detach().numpy()[0, 0, 4:8, 4:8]
    return ", ".join(f"{n:.0f}" for n in np.unique(counts.round(3)))


def spectrum(images: np.ndarray) -> np.ndarray:
    """The mean energy at each frequency, without that of the images' means: (H, W) as numpy.fft.fft2 orders them."""
    power = np.abs(np.fft.fft2(images.astype(np.float64))) ** 2
    power[..., 0, 0] = 0
    return power.reshape(-1, *images.shape[-2:]).mean(0)


def highest(power: np.ndarray) -> np.ndarray:
    """For every frequency the larger one of its two components, without sign: 0 to ½ cycle per pixel."""
    fy, fx = (np.abs(np.fft.fftfreq(n)) for n in power.shape)
    return np.maximum(fy[:, None], fx)


def share_near_half(power: np.ndarray) -> float:
    """The share of the energy within ⅛ cycle per pixel of ½, in %."""
    return 100 * power[highest(power) >= 0.5 - 1 / 8].sum() / power.sum()


def over_frequencies(power: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(frequencies, the share of the energy at each, in %), by the larger component."""
    f = highest(power)
    places = np.unique(f)[1:]
    return places, np.array([100 * power[f == place].sum() / power.sum() for place in places])


def grey(y: np.ndarray) -> np.ndarray:
    """For a picture: the strongest of the responses.  Grey is its mean; black or white, its root mean square away from that."""
    y = y[(y**2).sum((1, 2)).argmax()]
    return 0.5 + 0.5 * (y - y.mean()) / np.sqrt((y**2).mean())


parser = training.parser(__doc__, images=True, batch_size=100, lr=2e-3)
parser.add_argument(
    "--draws", type=training.at_least(1), default=20, help="untrained decoders for each way (default 20)"
)
args = parser.parse_args()
device = training.select_device(args.device)
train, test = load(args, fits=lambda side: side % 4 == 0)
run = training.start("upsampling", args)
epochs = args.epochs or (40 if is_small(train) else 2)
draws = 5 if args.dry_run else max(args.draws, 5)
x_train, x_test = train.with_channels, test.with_channels  # (n, channels, height, width)
some = tg.tensor(x_test[:200], device=device)
real = spectrum(x_test)

table, constants, spectra, metrics = [], {}, {"real images": over_frequencies(real)}, {}
shown = x_test[to_show(test)]
answers = {"original": shown}
for name, ways in WAYS.items():
    tg.manual_seed(args.seed)
    untrained = [responses_to_constants(Autoencoder(ways, x_train.shape[1:]).to(device), some) for _ in range(draws)]
    tg.manual_seed(args.seed)
    model = Autoencoder(ways, x_train.shape[1:]).to(device)
    optimizer = optim.Adam(model.parameters(), lr=args.lr)
    loader = data.DataLoader(x_train, args.batch_size, shuffle=True, generator=args.seed, device=device)
    keeper = run.keeper(name=re.sub(r"\W+", "_", name), model=model, optimizer=optimizer)
    for epoch in keeper.epochs(epochs):
        for x in (bar := training.progress(keeper.batches(loader), f"{name}, epoch {epoch + 1}/{epochs}")):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), x)
            keeper.check(loss)
            loss.backward()
            optimizer.step()
            keeper.log(loss=loss.item())
            bar.set("grey levels² per pixel", error=loss.item())

    trained = responses_to_constants(model, some)
    decoded = in_batches(model, x_test, some).cpu().numpy()
    error = float(np.square(decoded - x_test).sum((1, 2, 3)).mean())
    numbers = np.median([ripple(y) for y in untrained]), ripple(trained), share_near_half(spectrum(decoded))
    table.append((name, weights_per_pixel(ways[1]), *map(float, numbers), error))
    metrics[name] = dict(zip(("untrained", "trained", "near_half", "error"), (*numbers, error), strict=True))
    constants[name] = np.stack([grey(y) for y in (*untrained[:5], trained)])
    answers[name] = decoded[to_show(test)]
    if ways[0] is ways[1]:
        spectra[name] = over_frequencies(spectrum(decoded))

baseline = float(evaluate.variance(train.flat, test.flat))
table.append(("real images", None, None, None, share_near_half(real), 0.0))
table.append(("the mean image", None, None, None, share_near_half(spectrum(x_train.mean(0))), baseline))

plot.rows(constants, run.path("constant.png"), title="Answers to a constant: untrained (5), trained (1)")
plot.rows(answers, run.path("reconstructions.png"), title="Test images through a code of 16 numbers")
plot.curves(
    spectra,
    run.path("spectrum.png"),
    xlabel="frequency, cycles per pixel (the larger of the two directions)",
    ylabel="share of the energy, %",
    logy=True,
)
run.save_metrics(real_near_half=share_near_half(real), mean_image_error=baseline, **metrics)
headers = (
    "decoder's two stages",
    "weights/pixel",
    "ripple untrained, %",
    "ripple trained, %",
    "energy near ½, %",
    "error, grey levels²/image",
)
print(training.table(table, headers))
print(
    "weights/pixel: how many weights of one stage reach a pixel, for each kind of pixel.\n"
    f"ripple: the share of the response to a constant that is not constant; untrained: the median of {draws} starting points.\n"
    "energy near ½: of the answers to test images; blurred answers have less than real images, a checkerboard adds to it.\n"
    f"Pictures are in {run.folder}/"
)
