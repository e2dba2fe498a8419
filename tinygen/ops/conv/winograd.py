"""Minimal filtering along the rows (Winograd's algorithm): fewer multiplications, and all of them in matrix products.

Along a row, m neighbouring pixels of the output of a kernel with r taps depend on t = m + r - 1 pixels of the input.  The sums
take m r multiplications, but t are enough.  There are matrices A, B, G of small numbers with

    y = A [(B x) · (G w)]              x: t pixels, w: r taps, y: m pixels;  for m = 4 and r = 3 that is 6 instead of 12

They come from polynomials.  The product of w(p) = Σ wⱼ pʲ and v(p) = Σ vᵢ pⁱ has t coefficients, so it is known from its
values at t points: evaluate both (G, Aᵀ), multiply, and find the polynomial through the values (Bᵀ = V⁻¹, the inverse of the matrix
that evaluates t coefficients).  That is bilinear in w and v; transposed with respect to v it is the filter above.

Pixels are matrices (batch, channels), so · is a product of matrices, one for each of the t values.  The kernel's rows are summed
one by one.  A row that is passed in steps of s is s rows side by side, one every s-th pixel, as s times as many channels
passed in steps of one: a kernel of 4 pixels with stride 2 has r = 2.

    conv(x, w)[i]           = A  Σₐ (B x[s i + a]) · (G w[a])               a: row of the kernel, i: row of the output
    conv_transpose(y, w)[h] = Bᵀ Σₐ (Aᵀ y[i]) · (G w[a])ᵀ, h = s i + a      its transposes, by transposing the matrices
    conv_weight(x, y)[a]    = Gᵀ Σᵢ (B x[s i + a])ᵀ · (Aᵀ y[i])

The price: rounding errors three to six times those of the sums, relative to the largest of t neighbouring pixels; a NaN or an
infinity makes NaN of all m pixels that are computed with it.  See evenness.py.
Sources: Winograd 1980, "Arithmetic complexity of computations"; Lavin, Gray 2015, "Fast algorithms for convolutional neural networks".
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.polynomial.polynomial import polyfromroots

from tinygen.backend.threads import share
from tinygen.ops.conv.evenness import Watch
from tinygen.ops.conv.geometry import Geometry, channels_first, phases, pixel_major

POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)
"""Where the polynomials are evaluated; the last point is infinity, where a polynomial's value is its highest coefficient."""
MOST = 4
"""Pixels of the output at a time: more points would be further apart, and their powers round worse."""


class Matrices(NamedTuple):
    back: Any
    """A: (m, t)."""
    ahead: Any
    """B: (t, t)."""
    kernel: Any
    """G: (t, r)."""


@lru_cache(64)
def matrices(m: int, r: int) -> Matrices:
    """A, B, G in float64, scaled by powers of two so that no point weighs more than others."""
    t = m + r - 1
    points = POINTS[: t - 1]

    def evaluate(coefficients: int) -> np.ndarray:
        finite = np.vander(points, coefficients, increasing=True)
        return np.vstack([finite, np.eye(coefficients)[-1]])

    # The polynomial with given values: Lagrange's for the finite points, each of which is 1 at one of them and 0 at the
    # others, and for infinity the one that is 0 at all of them.
    through = np.zeros((t, t))
    for j, p in enumerate(points):
        others = [q for q in points if q != p]
        through[j, :-1] = polyfromroots(others) / np.prod(np.subtract(p, others))
    through[-1] = polyfromroots(points)

    back, kernel = evaluate(m).T, evaluate(r)
    of_back, of_ahead = (2.0 ** np.round(np.log2(np.linalg.norm(x, axis=i))) for x, i in ((back, 0), (through, 1)))
    return Matrices(back / of_back, through / of_ahead[:, None], kernel * (of_back * of_ahead)[:, None])


def taps_of(geo: Geometry) -> int:
    """r: the taps of a kernel's row that follow each other in steps of the stride."""
    return -(-geo.kernel[-1] // geo.stride[-1])


def takes(geo: Geometry) -> bool:
    """Whether this way of computing knows the geometry: images, and two or three taps."""
    return len(geo.size) == 2 and geo.dilation == (1, 1) and geo.groups == 1 and 2 <= taps_of(geo) <= 3


def tiles_of(geo: Geometry) -> tuple[int, int, int]:
    """(m, t, how many tiles of m pixels are a row of the output), with the fewest products."""
    r, width = taps_of(geo), geo.out[-1]
    tiles, t = min((-(-width // m) * (m + r - 1), m + r - 1) for m in range(2, MOST + 1))
    return t - r + 1, t, tiles // t


def conv(xp: Any, x: Any, w: Any, geo: Geometry, watch: Watch | None = None) -> Any:
    """A Σ (B x) · (G w), row by row."""
    way = _Way(xp, geo, x.shape[0], w.shape[1], w.shape[0], xp.result_type(x, w), watch)
    lines, taps = way.lines(x), way.taps(w)
    y = xp.empty((*geo.out, way.batch, way.n_out), way.dtype)

    def some(rows: Sequence[int]) -> None:
        ahead = way.ahead(lines, rows)
        total, part = way.values(way.n_out), way.values(way.n_out)
        for i in rows:
            for a in range(geo.kernel[0]):
                if a == 0:
                    xp.matmul(ahead(i, a), taps[a], out=total)
                else:
                    total += xp.matmul(ahead(i, a), taps[a], out=part)
            way.back(total, y[i])

    way.share(some)
    return channels_first(y)


def conv_transpose(xp: Any, y: Any, w: Any, geo: Geometry, watch: Watch | None = None) -> Any:
    """Bᵀ Σ (Aᵀ y) · (G w)ᵀ: every row of x collects what reaches it."""
    way = _Way(xp, geo, y.shape[0], w.shape[1], w.shape[0], xp.result_type(y, w), watch)
    values = pixel_major(xp, y)
    taps = xp.ascontiguousarray(way.taps(w).swapaxes(-1, -2))
    x = xp.empty((*geo.size, way.batch, way.n_in), way.dtype)
    s, (before, _) = geo.stride[0], geo.padding[0]

    def some(rows: Sequence[int]) -> None:
        known: dict[int, Any] = {}
        total, part = way.values(way.s * way.n_in), way.values(way.s * way.n_in)
        for h in rows:
            reaching = [divmod(h + before - a, s) for a in range(geo.kernel[0])]
            met = [(a, i) for a, (i, rest) in enumerate(reaching) if not rest and 0 <= i < geo.out[0]]
            for n, (a, i) in enumerate(met):
                if i not in known:
                    known[i] = way.back_transposed(values[i])
                if n == 0:
                    xp.matmul(known[i], taps[a], out=total)
                else:
                    total += xp.matmul(known[i], taps[a], out=part)
            for i in [i for i in known if i * s < h + before - geo.kernel[0]]:
                del known[i]
            if met:
                way.ahead_transposed(total, x[h])
            else:
                x[h] = 0

    way.share(some, geo.size[0])
    return channels_first(x)


def conv_weight(xp: Any, x: Any, y: Any, geo: Geometry) -> Any:
    """Gᵀ Σ (B x)ᵀ · (Aᵀ y), row by row."""
    way = _Way(xp, geo, x.shape[0], x.shape[1], y.shape[1], xp.result_type(x, y))
    lines, values = way.lines(x), pixel_major(xp, y)

    def some(rows: Sequence[int]) -> Any:
        ahead = way.ahead(lines, rows)
        taps = xp.zeros((geo.kernel[0], way.t, way.s * way.n_in, way.n_out), way.dtype)
        part = xp.empty(taps.shape[1:], way.dtype)
        for i in rows:
            right = way.back_transposed(values[i])
            for a in range(geo.kernel[0]):
                taps[a] += xp.matmul(ahead(i, a).swapaxes(-1, -2), right, out=part)
        return taps

    taps, *others = way.share(some)
    for other in others:
        taps += other
    return way.taps_transposed(taps)


class _Way:
    """The steps that the three sums are made of, for given sizes."""

    def __init__(self, xp: Any, geo: Geometry, batch: int, n_in: int, n_out: int, dtype: Any, watch: Any = None):
        self.xp, self.geo, self.dtype, self.watch = xp, geo, dtype, watch
        self.batch, self.n_in, self.n_out = batch, n_in, n_out
        self.s, self.r = geo.stride[-1], taps_of(geo)
        self.m, self.t, self.tiles = tiles_of(geo)
        self.a, self.b, self.g = (xp.asarray(x.astype(dtype)) for x in matrices(self.m, self.r))

    def share(self, some: Any, rows: int | None = None) -> list[Any]:
        pixels = self.geo.out[0] * self.geo.out[1] * self.batch
        return share(some, range(rows or self.geo.out[0]), pixels * self.n_in * self.n_out)

    def values(self, channels: int) -> Any:
        """Memory for a row in between: t matrices (tiles · batch, channels)."""
        return self.xp.empty((self.t, self.tiles * self.batch, channels), self.dtype)

    def lines(self, x: Any) -> Any:
        """(batch, channels, *size) -> (padded rows, pixels, batch · s · channels): s neighbouring pixels are one."""
        geo, width = self.geo, self.tiles * self.m + self.r - 1
        pixels = x.transpose(2, 3, 0, 1)
        out = self.xp.zeros((geo.padded[0], width, self.batch, self.s, self.n_in), x.dtype)
        for phase, into, of in phases(geo):
            into = slice(into.start, min(into.stop, width))
            some = pixels[:, of][:, : into.stop - into.start]
            out[geo.inside[0], into, :, phase] = some
        return out.reshape(geo.padded[0], width, -1)

    def ahead(self, lines: Any, rows: Sequence[int]) -> Any:
        """(row i of the output, row a of the kernel) -> B x[s i + a], as t matrices; rows follow each other."""
        known: dict[int, Any] = {}
        first = None

        def of(i: int, a: int) -> Any:
            nonlocal first
            h = i * self.geo.stride[0] + a
            if i != first:
                first = i
                for old in [k for k in known if k < h - a]:
                    del known[old]
            if h not in known:
                out = self.values(self.s * self.n_in)
                tiles = out.reshape(self.t, self.tiles, -1)
                for j in range(self.tiles):
                    self.xp.matmul(self.b, lines[h, j * self.m : j * self.m + self.t], out=tiles[:, j])
                known[h] = out
                if self.watch:
                    self.watch.see(lines[h])
            return known[h]

        return of

    def ahead_transposed(self, values: Any, row: Any) -> None:
        """Bᵀ, into a row of x: what two tiles have in common is added up."""
        xp, m, tiles = self.xp, self.m, self.tiles
        values = values.reshape(self.t, tiles, -1).swapaxes(0, 1)
        line = xp.empty((tiles * m + self.r - 1, values.shape[-1]), self.dtype)
        own = line[: tiles * m].reshape(tiles, m, -1)
        xp.matmul(self.b.T[:m], values, out=own)
        common = xp.matmul(self.b.T[m:], values)
        own[1:, : self.r - 1] += common[:-1]
        line[tiles * m :] = common[-1]
        line = line.reshape(-1, self.batch, self.s, self.n_in)
        for phase, into, of in phases(self.geo):
            part = line[into, :, phase]
            target = row[of]
            target[: len(part)] = part
            target[len(part) :] = 0  # the end of the input that the kernel does not reach

    def back(self, values: Any, row: Any) -> None:
        """A, into a row of y; of the last tile perhaps only a part."""
        values = values.reshape(self.t, self.tiles, -1).swapaxes(0, 1)
        full, rest = divmod(self.geo.out[-1], self.m)
        row = row.reshape(self.geo.out[-1], -1)
        if full:
            self.xp.matmul(self.a, values[:full], out=row[: full * self.m].reshape(full, self.m, -1))
        if rest:
            self.xp.matmul(self.a[:rest], values[full], out=row[full * self.m :])

    def back_transposed(self, row: Any) -> Any:
        """Aᵀ of a row of y, as t matrices."""
        full, rest = divmod(self.geo.out[-1], self.m)
        out = self.values(self.n_out)
        tiles = out.reshape(self.t, self.tiles, -1)
        row = row.reshape(self.geo.out[-1], -1)
        for j in range(full):
            self.xp.matmul(self.a.T, row[j * self.m : (j + 1) * self.m], out=tiles[:, j])
        if rest:
            self.xp.matmul(self.a.T[:, :rest], row[full * self.m :], out=tiles[:, full])
        if self.watch:
            self.watch.see(row)
        return out

    def taps(self, w: Any) -> Any:
        """G w: (channels out, in, *kernel) -> (rows of the kernel, t, s · in, out)."""
        rows, width = self.geo.kernel
        full = self.xp.zeros((self.r * self.s, rows, self.n_in, self.n_out), self.dtype)
        full[:width] = w.transpose(3, 2, 1, 0)
        full = full.reshape(self.r, self.s, rows, -1).swapaxes(1, 2).reshape(self.r, -1)
        taps = (self.g @ full).reshape(self.t, rows, self.s * self.n_in, self.n_out)
        return self.xp.ascontiguousarray(taps.swapaxes(0, 1))

    def taps_transposed(self, taps: Any) -> Any:
        """Gᵀ: the way back, where what stands beside the kernel is dropped."""
        rows, width = self.geo.kernel
        full = self.g.T @ taps.swapaxes(0, 1).reshape(self.t, -1)
        full = full.reshape(self.r, rows, self.s, self.n_in, self.n_out).swapaxes(1, 2)
        return full.reshape(self.r * self.s, rows, self.n_in, self.n_out)[:width].transpose(3, 2, 1, 0)
