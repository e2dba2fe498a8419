"""How far to go along a direction: far enough, and to where it has become flat."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isfinite, sqrt
from typing import NamedTuple

from tinygen.backend import Array


class Point(NamedTuple):
    """What is known of the function at the distance t: its value, its gradient, and the slope <gradient, direction>."""

    t: float
    value: float
    gradient: Array
    slope: float


def strong_wolfe(
    evaluate: Callable[[float], Point],
    start: Point,
    t: float,
    reach: float,
    *,
    c1: float = 1e-4,
    c2: float = 0.9,
    tolerance: float = 1e-9,
    tries: int = 25,
) -> tuple[Point, int]:
    """A point at which f(t) ≤ f(0) + c₁ t f'(0) and |f'(t)| ≤ c₂ |f'(0)|: the strong Wolfe conditions.

    evaluate: the function along a direction of descent.  start: it at t = 0.  t: the first distance to try.
    reach: the largest element of the direction; when t is known to within tolerance / reach, it is not looked for further.
    tries: points that are looked at after the first; then it is the best one so far.
    Returns the point, and how often the function was evaluated.

    First t grows until a suitable point must lie before it; then the interval shrinks, to the minimum of the cubic through
    the values and slopes at its ends.  Unlike PyTorch's search, it never takes for the better end a point that is lower, but
    not low enough for the first condition: from there it could get stuck.
    Source: Nocedal, Wright 2006, algorithms 3.5 and 3.6 and eq. 3.59, with the safeguards of Schmidt's minFunc that
    torch.optim.LBFGS has.
    """

    def falls_enough(p: Point) -> bool:
        return p.value <= start.value + c1 * p.t * start.slope

    def is_flat(p: Point) -> bool:
        return abs(p.slope) <= -c2 * start.slope

    before, point, calls = start, evaluate(t), 1
    for i in range(tries):
        if not falls_enough(point) or (i > 1 and point.value >= before.value):
            ends = [before, point]
            break
        if is_flat(point):
            return point, calls
        if point.slope >= 0:
            ends = [before, point]
            break
        t = cubic_minimum(before, point, point.t + 0.01 * (point.t - before.t), 10 * point.t)
        before, point, calls = point, evaluate(t), calls + 1
    else:
        return (point if point.value < start.value else start), calls

    low = min((0, 1), key=lambda i: (not falls_enough(ends[i]), ends[i].value))  # it falls enough, now and always
    stalled = False
    while calls <= tries:
        left, right = sorted(p.t for p in ends)
        if (right - left) * reach < tolerance:
            break
        t = cubic_minimum(ends[0], ends[1], left, right)
        margin = 0.1 * (right - left)
        is_close = min(right - t, t - left) < margin
        if is_close and (stalled or t >= right or t <= left):  # twice at one end: the interval would hardly shrink
            t = right - margin if right - t < t - left else left + margin
            is_close = False
        stalled = is_close
        point, calls = evaluate(t), calls + 1
        if not falls_enough(point) or point.value >= ends[low].value:
            ends[1 - low] = point
            continue
        if is_flat(point):
            return point, calls
        if point.slope * (ends[1 - low].t - ends[low].t) >= 0:
            ends[1 - low] = ends[low]
        ends[low] = point
    return ends[low], calls


def cubic_minimum(a: Point, b: Point, least: float, most: float) -> float:
    """Where the cubic with these values and slopes at two points has its minimum, within bounds; their middle if nowhere.

    Source: Nocedal, Wright 2006, eq. 3.59.
    """
    if a.t > b.t:
        a, b = b, a
    middle = (least + most) / 2
    if a.t == b.t or not isfinite(a.value + b.value + a.slope + b.slope):
        return middle
    d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not 0 <= square < inf:
        return middle
    d2 = sqrt(square)
    divisor = b.slope - a.slope + 2 * d2
    if divisor == 0:
        return middle
    return min(max(b.t - (b.t - a.t) * ((b.slope + d2 - d1) / divisor), least), most)
