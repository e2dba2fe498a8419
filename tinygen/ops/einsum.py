"""Einstein summation.

out = Σ x₁ x₂ ... over the letters that the output lacks: linear in every operand.  The derivative with respect to one
operand is again such a sum, with the output's gradient in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinygen.engine import Op, expand, name_operators
from tinygen.errors import ShapeError
from tinygen.ops.shape import diagonal, reshape

if TYPE_CHECKING:
    from tinygen.tensor import Tensor

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _rule(i: int) -> Any:
    def vjp(g: Any, _: Any, *xs: Any, terms: tuple[str, ...], result: str) -> Any:
        """Sum g with the other operands to the letters of operand i; repeat over letters that only it has."""
        others = [*terms[:i], *terms[i + 1 :]]
        known = "".join(c for c in terms[i] if c in result or any(c in t for t in others))
        gx = _einsum(g, *xs[:i], *xs[i + 1 :], terms=(result, *others), result=known)
        shape = xs[i].shape
        gx = reshape(gx, tuple(n if c in known else 1 for c, n in zip(terms[i], shape, strict=True)))
        return expand(gx, shape=tuple(shape))

    return vjp


def _forward(xp: Any, *xs: Any, terms: tuple[str, ...], result: str) -> Any:
    return xp.einsum(",".join(terms) + "->" + result, *xs, optimize=True)


_einsum = Op(_forward, each=_rule)
name_operators(globals())


def einsum(equation: str, *operands: Any) -> Tensor:
    """Sum of products in Einstein's notation: einsum("bij,bjk->bik", x, y) is a batched matrix product.

    Spaces, `...`, repeated letters (a diagonal) and a missing `->` (the letters that occur once, in alphabetical order) are
    understood, and a size of 1 broadcasts.  Raises ValueError when the equation and the shapes do not fit.
    equation: letters for the dimensions of each operand, and of the result.  operands: tensors.
    """
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    terms, result = _parse(equation, [x.ndim for x in operands])
    sizes = _sizes(equation, terms, operands)
    plain = [_without_ones(*_without_repeats(t, x), sizes) for t, x in zip(terms, operands, strict=True)]
    return _einsum(*(x for _, x in plain), terms=tuple(t for t, _ in plain), result=result)


def _parse(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The letters of every operand and of the result, with `...` spelled out."""
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ValueError(f"einsum: {equation!r} describes {len(terms)} operands, got {len(ranks)}")
    free = [c for c in _LETTERS if c not in equation]
    rest = [rank - len(t.replace("...", "")) for t, rank in zip(terms, ranks, strict=True)]
    for t, rank, extra in zip(terms, ranks, rest, strict=True):
        if extra < 0 or (extra and "..." not in t):
            raise ShapeError(f"einsum: {t!r} in {equation!r} does not describe a tensor with {rank} dimensions")
    dots = "".join(free[: max((e for t, e in zip(terms, rest, strict=True) if "..." in t), default=0)])
    terms = [t.replace("...", dots[len(dots) - e :]) for t, e in zip(terms, rest, strict=True)]
    if arrow:
        result = result.replace("...", dots)
    else:
        letters = "".join(terms)
        result = dots + "".join(sorted(c for c in set(letters) if letters.count(c) == 1 and c not in dots))
    if bad := [c for c in result if c not in "".join(terms) or result.count(c) > 1]:
        raise ValueError(f"einsum: the output letter {bad[0]!r} of {equation!r} must occur once, and in some operand")
    if bad := [c for t in terms for c in t if not c.isalpha()]:
        raise ValueError(f"einsum: {bad[0]!r} in {equation!r} is not a letter")
    return terms, result


def _sizes(equation: str, terms: Sequence[str], operands: Sequence[Any]) -> dict[str, int]:
    """What every letter stands for.  Raises ShapeError where two sizes differ and none is 1."""
    size: dict[str, int] = {}
    for t, x in zip(terms, operands, strict=True):
        for c, n in zip(t, x.shape, strict=True):
            if n != x.shape[t.index(c)]:  # the diagonal of a matrix that is not square
                raise ShapeError(
                    f"einsum: the letter {c!r} of {equation!r} stands for sizes {x.shape[t.index(c)]} and {n}"
                )
            if n != 1 and size.get(c, 1) not in (1, n):
                raise ShapeError(f"einsum: the letter {c!r} of {equation!r} stands for sizes {size[c]} and {n}")
            size[c] = n if size.get(c, 1) == 1 else size[c]
    return size


def _without_ones(term: str, x: Any, sizes: dict[str, int]) -> tuple[str, Any]:
    """An operand that broadcasts along a letter is constant there: it does not depend on that letter at all."""
    kept = [c for c, n in zip(term, x.shape, strict=True) if n == sizes[c]]
    return "".join(kept), x if len(kept) == x.ndim else reshape(x, tuple(sizes[c] for c in kept))


def _without_repeats(term: str, x: Any) -> tuple[str, Any]:
    """'iij' -> 'ji', with the diagonal taken."""
    for c in dict.fromkeys(term):
        while term.count(c) > 1:
            first = term.index(c)
            second = term.index(c, first + 1)
            x = diagonal(x, 0, first, second)
            term = term[:first] + term[first + 1 : second] + term[second + 1 :] + c
    return term, x


__all__ = ["einsum"]
