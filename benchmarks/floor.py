"""Training steps in NumPy alone, the derivatives written out by hand: what is left when there is no engine.

All parameters lie in one buffer and all gradients in another, so that Adam is a dozen calls for the whole model.  Convolutions
are direct products, one for every tap of the kernel; a library that takes another way (by frequencies, say) can be faster.
"""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

# kind, channels in and out, kernel, stride: D4's convolutional autoencoder; ReLU everywhere but around the code
CONVOLUTIONS = [
    *(
        ("conv", 1, 32, 5, 1),
        ("conv", 32, 32, 5, 1),
        ("conv", 32, 32, 4, 2),
        ("conv", 32, 32, 3, 2),
        ("conv", 32, 8, 4, 1),
    ),
    *(("transposed", 8, 32, 4, 1), ("transposed", 32, 32, 3, 2), ("transposed", 32, 32, 4, 2)),
    *(("transposed", 32, 32, 5, 1), ("transposed", 32, 1, 5, 1)),
]
CODE = 5  # the layer that takes the code

RATE, BETA1, BETA2, EPSILON = 1e-3, 0.9, 0.999, 1e-8
BLOCK = 1 << 16  # numbers at a time that stay in the cache


def dense(*pairs):
    return [shape for n, m in pairs for shape in ((m, n), (m,))]


def convolutional():
    """A convolution's weight is (out, in, k, k), a transposed one's (in, out, k, k)."""
    for kind, n, m, k, _ in CONVOLUTIONS:
        yield from (((m, n) if kind == "conv" else (n, m)) + (k, k), (m,))


# Weight, bias, weight, bias, ... in the order of models.py
SHAPES = {
    "ae": dense((784, 256), (256, 10), (10, 256), (256, 784)),
    "vae": dense((784, 400), (400, 20), (400, 20), (20, 400), (400, 784)),
    "conv-ae": list(convolutional()),
}


class Adam:
    """Adam, parameters and gradients each in one buffer; `parameters` and `gradients` are views of them."""

    def __init__(self, arrays):
        self._p = np.concatenate([a.ravel() for a in arrays])
        self._g, self._m, self._v = np.zeros((3, self._p.size), np.float32)
        self._a, self._b = np.empty((2, BLOCK), np.float32)
        self.parameters, self.gradients = (self._views(buffer, arrays) for buffer in (self._p, self._g))
        self._steps = 0

    @staticmethod
    def _views(buffer, arrays):
        ends = np.cumsum([a.size for a in arrays])
        return [part.reshape(a.shape) for part, a in zip(np.split(buffer, ends[:-1]), arrays, strict=True)]

    def step(self, gradients=None):
        """One step along `gradients`, a list of arrays; without, along what has been written into the buffer."""
        if gradients is not None:
            np.concatenate([g.ravel() for g in gradients], out=self._g)
        self._steps += 1
        rate, root = RATE / (1 - BETA1**self._steps), math.sqrt(1 - BETA2**self._steps)
        for start in range(0, self._p.size, BLOCK):
            p, g, m, v = (buffer[start : start + BLOCK] for buffer in (self._p, self._g, self._m, self._v))
            a, b = self._a[: p.size], self._b[: p.size]
            m *= BETA1
            m += np.multiply(g, 1 - BETA1, out=a)
            v *= BETA2
            np.multiply(g, g, out=a)
            v += np.multiply(a, 1 - BETA2, out=a)
            np.sqrt(v, out=a)
            a *= 1 / root
            a += EPSILON
            np.multiply(m, rate, out=b)
            b /= a
            p -= b


# Dense layers


def linear(h, weight, bias):
    a = h @ weight.T
    a += bias
    return a


def linear_backward(g, h, weight, gw, gb, wanted=True):
    """The gradients of weight and bias, written into gw and gb; returns that of the input h, if wanted."""
    np.dot(g.T, h, out=gw)
    np.dot(np.ones(len(g), np.float32), g, out=gb)
    return g @ weight if wanted else None


def relu(a):
    return np.maximum(a, 0, out=a)


def sigmoid(a):
    y = np.tanh(0.5 * a)
    y *= 0.5
    y += 0.5
    return y


def ae(p, g, x):
    inputs = [x]
    for i in range(0, 6, 2):
        inputs.append(relu(linear(inputs[-1], p[i], p[i + 1])))
    y = sigmoid(linear(inputs[-1], p[6], p[7]))
    error = y - x
    d = 2 * error * y
    d *= 1 - y
    for i in (6, 4, 2, 0):
        d = linear_backward(d, inputs[i // 2], p[i], g[i], g[i + 1], wanted=i > 0)
        if i:
            d *= inputs[i // 2] > 0
    return np.vdot(error, error)


def vae(p, g, x, epsilon):
    h = relu(linear(x, p[0], p[1]))
    mean, log_var = linear(h, p[2], p[3]), linear(h, p[4], p[5])
    deviation = np.exp(0.5 * log_var)
    variance = deviation * deviation
    z = mean + deviation * epsilon
    k = relu(linear(z, p[6], p[7]))
    a = linear(k, p[8], p[9])
    error = np.maximum(a, 0).sum() - np.vdot(a, x) + np.log1p(np.exp(-np.abs(a))).sum()
    divergence = 0.5 * (variance + mean * mean - log_var - 1).sum()

    d = sigmoid(a)
    d -= x
    d = linear_backward(d, k, p[8], g[8], g[9])
    d *= k > 0
    d = linear_backward(d, z, p[6], g[6], g[7])
    to_mean = d + mean
    to_log_var = 0.5 * (d * epsilon * deviation + variance - 1)
    d = linear_backward(to_mean, h, p[2], g[2], g[3])
    d += linear_backward(to_log_var, h, p[4], g[4], g[5])
    d *= h > 0
    linear_backward(d, x, p[0], g[0], g[1], wanted=False)
    return error + divergence


# Convolutions.  An image is (height, width, batch, channels), so that every pixel is a matrix; a kernel (k, k, in, out), so that
# every tap is one.  T(x, w, g) = <conv(x, w), g> is linear in x, w and g; the three functions are its derivatives in g, x and w.


def conv(x, w, stride):
    k, _, channels, out = w.shape
    n = (len(x) - k) // stride + 1
    if channels == stride == 1:
        return (columns(x, k) @ w.reshape(k * k, out)).reshape(n, n, -1, out)
    y = np.zeros((n, n, x.shape[2], out), np.float32)
    part = np.empty_like(y[0])
    for row, i, j in np.ndindex(n, k, k):
        y[row] += np.matmul(pixels(x, row, i, j, n, stride), w[i, j], out=part)
    return y


def conv_input(g, w, stride, size):
    """For an input of size x size pixels; this is also what a transposed convolution computes."""
    k, _, channels, _ = w.shape
    n, _, batch, out = g.shape
    x = np.zeros((size, size, batch, channels), np.float32)
    if channels == stride == 1:
        taps = g.reshape(-1, out) @ w.reshape(k * k, out).T
        taps = taps.reshape(n, n, batch, k, k)
        for i, j in np.ndindex(k, k):
            x[i : i + n, j : j + n, :, 0] += taps[..., i, j]
        return x
    turned = np.ascontiguousarray(w.swapaxes(2, 3))
    part = np.empty((n, batch, channels), np.float32)
    for row, i, j in np.ndindex(n, k, k):
        target = pixels(x, row, i, j, n, stride)
        target += np.matmul(g[row], turned[i, j], out=part)
    return x


def conv_weight(x, g, stride, out):
    """Written into `out`, an array like the weight."""
    k, n, channels = len(out), len(g), x.shape[3]
    if channels == stride == 1:
        np.dot(columns(x, k).T, g.reshape(-1, g.shape[3]), out=out.reshape(k * k, -1))
        return
    out[...] = 0
    for row, i, j in np.ndindex(n, k, k):
        taken = pixels(x, row, i, j, n, stride).reshape(-1, channels)
        out[i, j] += taken.T @ g[row].reshape(-1, g.shape[3])


def pixels(x, row, i, j, n, stride):
    """The n pixels of x that tap (i, j) meets while the kernel passes along a row of the output."""
    return x[row * stride + i, j : j + stride * (n - 1) + 1 : stride]


def columns(x, k):
    """What the kernel sees of an image with one channel at every place, stride 1: a matrix with a row of k² numbers for each."""
    return sliding_window_view(x[..., 0], (k, k), (0, 1)).reshape(-1, k * k)


def conv_ae(p, g, x):
    inputs = [x]
    for i, (kind, _, _, k, stride) in enumerate(CONVOLUTIONS):
        h, w = inputs[-1], p[2 * i]
        if kind == "conv":
            y = conv(h, w, stride)
        else:
            y = conv_input(h, w, stride, (len(h) - 1) * stride + k)
        y += p[2 * i + 1]
        inputs.append(y if i in (CODE - 1, len(CONVOLUTIONS) - 1) else relu(y))
    error = inputs.pop() - x
    d = error * np.float32(2 / error.size)
    for i, (kind, _, _, _, stride) in reversed(list(enumerate(CONVOLUTIONS))):
        h, w = inputs[i], p[2 * i]
        flat = d.reshape(-1, d.shape[3])
        np.dot(np.ones(len(flat), np.float32), flat, out=g[2 * i + 1])
        if kind == "conv":
            conv_weight(h, d, stride, g[2 * i])
            d = conv_input(d, w, stride, len(h)) if i else None
        else:  # the roles of input and output are exchanged
            conv_weight(d, h, stride, g[2 * i])
            d = conv(d, w, stride)
        if i not in (0, CODE):
            d *= h > 0
    return np.vdot(error, error) / error.size


STEPS = {"ae": ae, "vae": vae, "conv-ae": conv_ae}


def training(name, parameters, x):
    """step(*noise) -> loss: forward, backward and Adam."""
    if (
        name == "conv-ae"
    ):  # (out, in, k, k) -> (k, k, in, out); a transposed one's names are those of the convolution it turns around
        parameters = [a.transpose(2, 3, 1, 0) if a.ndim == 4 else a for a in parameters]
        x = np.ascontiguousarray(x.transpose(2, 3, 0, 1))
    adam = Adam(parameters)

    def step(*noise):
        loss = STEPS[name](adam.parameters, adam.gradients, x, *noise)
        adam.step()
        return float(loss)

    return step
