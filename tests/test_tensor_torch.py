"""The same program in PyTorch and in tinygen: the same shapes, dtypes, values and gradients, and the same kinds of error.

Each program is a line of Python over `t`, the library.  Needs PyTorch (CPU), which the project itself never imports.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygen as tg

torch = pytest.importorskip("torch")

PROGRAMS = """
t.tensor(3.5)
t.tensor([1, 2])
t.tensor([[1.5], [2]])
t.tensor([True, False])
t.tensor([1, 2.5])
t.tensor([])
t.tensor([1, 2], dtype=t.float64)
t.zeros(2, 3)
t.zeros((2, 3), dtype=t.int64)
t.ones(2, dtype=t.bool)
t.full((2, 2), 7)
t.full((2,), 1.5)
t.full((2,), True)
t.eye(3)
t.eye(2, 3)
t.arange(5)
t.arange(2, 7, 2)
t.arange(0, 1, 0.25)
t.arange(5.0)
t.arange(5, 0, -2)
t.linspace(0, 1, 5)
t.linspace(0, 1, 1)
t.zeros_like(I)
t.ones_like(A, dtype=t.int64)
t.full_like(A, 3)
t.tensor(A.numpy())
A.new_zeros(2, 2)
I.new_ones((3,))
A.new_full((2,), 1.5)
A.new_tensor([1, 2])
A[0]
A[-1, 1:]
A[:, None].shape
A[..., 0]
A[::2]
A[5:]
A[[0, 2]]
A[[0, 2], [1, 1]]
A[:, [0, 0, 1]]
A[A > 0]
A[t.tensor([True, False, True])]
A[t.tensor([[0, 1], [2, 0]])]
A[t.tensor(1)]
A[I[0] % 3]
A[1:2, t.tensor([0, 3])]
A[None, ..., None].shape
B[0, [0, 1]].shape
B[[0, 1], :, [0, 1]].shape
B[[0, 1], 0, [0, 1]].shape
B[:, [0, 1], [0, 1]].shape
B[[[0], [1]], [0, 1]].shape
B[t.tensor([[True, False, True], [False, True, False]])]
A[()]
A[False]
A[True].shape
A[:, -1:]
S.shape
S[None].shape
S[...].shape
list(A)[1]
len(A)
A.sum()
A.sum(0)
A.sum(-1, keepdim=True)
A.sum((0, 1))
A.sum(dim=1)
B.sum((0, 2), keepdim=True)
I.sum()
(A > 0).sum()
I.sum(0)
A.sum(dtype=t.float64)
S.sum(0)
A.mean()
A.mean(0, keepdim=True)
A.mean((0, 1))
t.mean(A, 1)
A.var()
A.var(0)
A.var(1, unbiased=False)
A.std(dim=0)
A.std(1, keepdim=True)
A.var(dim=0, correction=0)
A.prod()
A.prod(1)
I.prod()
A.amax()
A.amax(0)
A.amin((0, 1))
A.max()
A.max(0)
A.max(1, keepdim=True)
A.min(-1)
t.max(A, A.flip(0))
t.min(I)
A.argmax()
A.argmax(1)
A.argmin(0, keepdim=True)
A.any()
(A > 0).all(1)
(A > 0).any(0, keepdim=True)
A.cumsum(0)
I.cumsum(1)
A.logsumexp(1)
A.logsumexp((0, 1))
A.softmax(1)
A.log_softmax(0)
t.softmax(A, dim=-1)
A.norm()
A.norm(dim=1)
A.norm(1)
A.norm(p=3, dim=0, keepdim=True)
A.norm(float('inf'))
A.sort()
A.sort(0, descending=True)
t.sort(I, dim=1)
A.argsort(0)
A.topk(2)
A.topk(1, 0, largest=False)
t.count_nonzero(I)
t.count_nonzero(I, 0)
A.reshape(4, 3)
A.reshape(-1)
A.reshape((2, -1))
A.view(2, 6)
A.view(-1, 2, 2).shape
A.view_as(t.zeros(4, 3))
A.flatten()
B.flatten(1)
B.flatten(0, 1).shape
S.flatten()
A.unflatten(1, (2, 2)).shape
A.unflatten(-1, (-1, 2)).shape
A.t()
A.T
t.zeros(3).t()
B.mT.shape
B.permute(2, 0, 1)
B.permute((2, 0, 1)).shape
B.transpose(0, 2)
B.transpose(-1, -2).shape
t.movedim(B, 0, 2).shape
t.zeros(1, 2, 1).squeeze().shape
t.zeros(1, 2, 1).squeeze(0).shape
t.zeros(1, 2, 1).squeeze(1).shape
t.zeros(1, 2, 1).squeeze((0, 2)).shape
A.unsqueeze(0).shape
A.unsqueeze(-1).shape
t.unsqueeze(S, 0)
A[:1].expand(5, 4)
A[:1].expand(2, -1, 4).shape
A.expand(2, 3, 4).shape
A[:1].expand_as(A)
t.broadcast_to(A[0], (2, 4))
A.repeat(2, 1)
A.repeat(1, 2, 2).shape
t.tile(A, (2,))
t.tile(A, (2, 1, 1)).shape
A.repeat_interleave(2)
A.repeat_interleave(2, dim=0)
t.cat([A, A])
t.cat((A, A[:, :1]), 1)
t.cat([A, A], dim=-1).shape
t.cat([I, A])
t.stack([A, A])
t.stack((A, A), dim=-1).shape
A.split(2)
A.split([1, 2], dim=0)
A.split(3, dim=1)
A.chunk(2)
A.chunk(3, dim=1)
A.chunk(5, dim=0)
t.zeros(0, 3).chunk(2)
t.zeros(0, 3).split(2)
A.unbind(1)
A.narrow(0, 1, 2)
A.narrow(1, -2, 1)
A.select(1, -1)
A.flip(0)
A.flip(0, 1)
t.flip(A, (1,))
A.roll(1)
A.roll(1, 0)
A.roll((1, -1), (0, 1))
A.tril()
A.triu(1)
A.tril(-1)
A.diagonal()
A.diagonal(1)
B.diagonal(0, 1, 2).shape
t.diag(A[0])
t.diag(A, -1)
t.trace(A[:, :3])
A.gather(1, I[:, :2] % 4)
A.gather(0, t.tensor([[0, 2, 1, 0]]))
t.zeros(3, 4).scatter(1, I % 4, A)
t.zeros(3, 4).scatter(0, I % 3, 1.5)
t.zeros(3, 4).scatter_add(0, I % 3, A)
A.index_select(1, t.tensor([3, 0]))
t.take_along_dim(A, A.argsort(1), 1)
A.masked_fill(A > 0, -1)
A.masked_select(A > 0)
t.where(A > 0, A, 0)
t.where(A > 0, A, A * 0.5)
t.where(A > 0, 1.0, 0.0)
A.where(A > 0, t.tensor(0.0))
A @ A.T
A @ A[0]
A[0] @ A.T
A[0] @ A[0]
B @ B.transpose(1, 2)
B @ A.T
A.mm(A.T)
t.bmm(B, B.mT).shape
A.mv(A[0])
A[0].dot(A[1])
t.outer(A[0], A[1])
t.matmul(B, A[0]).shape
t.matmul(A[0], B.mT).shape
t.einsum('ij,kj->ik', A, A)
t.einsum('bij->bji', B).shape
t.einsum('...j,kj', B, A).shape
t.einsum('ij,kj', A, A)
t.einsum('ii', A[:, :3])
A + 1
1 - A
A / 2
2 / A
A ** 2
2 ** A
A // 0.3
A % 0.3
-7 // t.tensor([2, -2])
-7 % t.tensor([2, -2])
t.tensor([7, -7]) // 2
t.tensor([7, -7]) % 3
t.tensor([7, -7]) / 2
I / 2
I ** 2
I * 1.5
I + A
I > 2
A == A
A != A.flip(0)
~(A > 0)
(A > 0) & (A < 1)
(A > 0) | (A < -1)
(A > 0) ^ (A < 1)
I & 3
-A
abs(A)
+A
A.add(A, alpha=2)
t.sub(A, 1, alpha=2)
t.div(A, 0.3, rounding_mode='floor')
t.div(A, 0.3, rounding_mode='trunc')
t.div(I, 3, rounding_mode='floor')
t.div(t.tensor([7, -7]), 2, rounding_mode='trunc')
A.clamp(-0.5, 0.5)
A.clamp(min=0)
A.clamp(max=t.zeros(4))
A.clamp(min=A.flip(0))
I.clamp(1, 3)
A.clip(0, 1)
t.lerp(A, A.flip(0), 0.25)
t.addcmul(A, A, A, value=2)
t.addcdiv(A, A, A.exp(), value=0.5)
A.exp()
I.exp()
A.exp().log()
A.abs().sqrt()
A.abs().rsqrt()
A.sigmoid()
A.tanh()
A.erf()
A.relu()
A.sign()
A.floor()
A.ceil()
t.tensor([0.5, 1.5, 2.5, -0.5]).round()
A.square()
A.reciprocal()
A.expm1()
A.abs().log1p()
A.sin() + A.cos() + A.tan() + A.atan() + A.sinh() + A.cosh()
A.abs().log2() + A.abs().log10()
t.logaddexp(A, A.flip(0))
t.maximum(A, A.flip(0))
t.minimum(I, I.flip(1))
t.isnan(A / 0)
(A / 0).isinf()
A.isfinite()
t.equal(A, A.clone())
t.allclose(A, A + 1e-9)
A.float().dtype == t.float32
A.double()
A.long()
A.int()
A.half()
A.bool()
(A * 10).byte() if False else A.to(t.float64)
I.to(t.float32)
I.float().mean()
A.type_as(I)
A.clone()
A.contiguous()
A.T.contiguous().is_contiguous()
A.T.is_contiguous()
A.T.stride()
A.stride()
A.size()
A.size(-1)
A.dim()
A.numel()
A.shape[0]
A.is_floating_point()
I.is_floating_point()
A.element_size()
S.item()
A.tolist()
I.tolist()
float(S)
int(I[0, 0])
bool(S > 0)
3 in I
2.5 in A
f'{S:.3f}'
t.meshgrid(t.arange(2), t.arange(3), indexing='ij')
t.randn(2, 3).shape
t.rand((4,)).dtype == t.float32
t.randint(10, (3,)).dtype == t.int64
t.randperm(4).sort()[0]
t.randint(3, 4, (2, 2))
t.normal(0.0, 1.0, (3,)).shape
t.bernoulli(t.ones(3))
t.multinomial(t.tensor([0.0, 1.0]), 3, replacement=True)
t.zeros(0, 3).sum(0)
t.zeros(0, 3).prod()
t.zeros(0).logsumexp(0)
t.zeros(0, 3).softmax(1).shape
t.zeros(2, 0).argsort(1)
t.zeros(0, 3) @ t.zeros(3, 2)
t.zeros(2, 0) @ t.zeros(0, 2)
t.zeros(3, 0).mean(0).shape
A.zero_() if False else t.ones(2).zero_()
t.ones(2).fill_(3).add_(1).mul_(2).sub_(1).div_(2)
t.ones(2).copy_(t.tensor([3, 4]))
t.arange(4).float().clamp_(1, 2)
t.zeros(2).bernoulli_(1.0)
t.zeros(1000).uniform_(2, 2)
t.zeros(3).masked_fill_(t.tensor([True, False, True]), 5)
t.nn.functional.one_hot(t.tensor([0, 2]), 4)
t.nn.functional.one_hot(t.tensor([[0], [2]]))
""".strip().splitlines()


def setting(t: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    a, b, i = (
        rng.normal(size=(3, 4)).astype(np.float32),
        rng.normal(size=(2, 3, 4)).astype(np.float32),
        rng.integers(0, 9, (3, 4)),
    )
    return {"t": t, "A": t.tensor(a), "B": t.tensor(b), "I": t.tensor(i), "S": t.tensor(2.5)}


def plain(x: Any) -> Any:
    """Shapes and dtypes by name, values as NumPy arrays."""
    if isinstance(x, torch.Tensor | tg.Tensor):
        return (str(x.dtype).removeprefix("torch."), tuple(x.shape), x.detach().numpy())
    if isinstance(x, tuple | list):
        return [plain(y) for y in x]
    return x


def assert_same(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for x, y in zip(ours, theirs, strict=True):
            assert_same(x, y)
    elif isinstance(theirs, tuple) and len(theirs) == 3 and isinstance(theirs[2], np.ndarray):
        assert ours[:2] == theirs[:2]
        # float32: a few roundings in another order
        np.testing.assert_allclose(ours[2].astype(np.float64), theirs[2].astype(np.float64), rtol=2e-5, atol=1e-6)
    else:
        assert ours == theirs


@pytest.mark.parametrize("program", PROGRAMS)
def test_same_result(program: str) -> None:
    import tinygen.nn  # noqa: F401

    with np.errstate(all="ignore"):
        assert_same(plain(eval(program, setting(tg))), plain(eval(program, setting(torch))))


GRADIENTS = """
(X * Y).sum()
(X.T @ Y).exp().sum()
X.amax()
X.max(1).values.sum()
X.max(0)[0].sum() * 2
X.sort(1).values[:, 0].sum()
X.topk(2).values.sum()
t.maximum(X, Y).sum()
t.maximum(X, X).sum()
X.clamp(-0.5, 0.5).sum()
X.clamp(min=Y).sum()
X.norm(dim=1).sum()
(X * 0).norm()
(X * 0).abs().sum()
(X * 0).relu().sum()
X.norm(3)
X.std(0).sum()
X.var()
X.prod()
(X * 0).prod()
X.cumsum(1).exp().sum()
X[X > 0].exp().sum()
X[[0, 0, 1], [1, 1, 2]].exp().sum()
X.gather(1, t.tensor([[0, 0], [1, 1], [3, 3]])).exp().sum()
X.logsumexp((0, 1))
X.softmax(0)[1].sum()
X.log_softmax(1)[:, 2].sum()
t.where(X > 0, X.exp(), Y * 2).sum()
(X / Y).sum()
(X.abs() ** Y).sum()
(Y.abs() ** 1.5).sum() + (X ** 2).sum()
(2 ** X).sum()
t.einsum('ij,kj->ik', X, Y).tanh().sum()
t.cat([X, Y]).split(4)[0].exp().sum()
t.stack([X, Y], 1).exp()[1].sum()
X.expand(2, 3, 4).exp().sum()
X.repeat(2, 1)[3:].exp().sum()
(X.view(4, 3) @ Y).exp().sum()
X.unfold if False else X.flip(0).tril().exp().sum()
(X % 0.3).sum()
X.remainder(Y).sum() if False else t.lerp(X, Y, 0.3).exp().sum()
X.round().sum() + X.floor().sum() + X.sign().sum() + X.sum()
X.amin((0, 1))
t.logaddexp(X, Y).sum()
X.diagonal().exp().sum() + t.diag(X[0]).exp().sum()
""".strip().splitlines()


@pytest.mark.parametrize("program", GRADIENTS)
def test_same_gradients(program: str) -> None:
    results = []
    for t in (tg, torch):
        rng = np.random.default_rng(1)
        x, y = (t.tensor(rng.normal(size=(3, 4)), requires_grad=True) for _ in range(2))
        loss = eval(program, {"t": t, "X": x, "Y": y})
        loss.backward()
        results.append(
            [loss.detach().numpy()] + [np.zeros((3, 4)) if p.grad is None else p.grad.numpy() for p in (x, y)]
        )
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11)


WRONG = """
t.zeros(2, 3) + t.zeros(2)
t.zeros(2, 3) @ t.zeros(2, 3)
t.zeros(2, 3).mm(t.zeros(3))
t.tensor(1.0) @ t.zeros(2)
t.zeros(2, 3).reshape(5)
t.zeros(2, 3).reshape(-1, -1)
t.zeros(2, 3).view(4, 2)
t.zeros(2, 3).sum(2)
t.zeros(2, 3).sum((0, 0))
t.zeros(2, 3).permute(0, 0)
t.zeros(2, 3).permute(0)
t.zeros(2, 3).transpose(0, 2)
t.zeros(2, 3).unsqueeze(4)
t.zeros(2, 3).squeeze(3)
t.zeros(2, 3).expand(4, 3)
t.zeros(2, 3).expand(3)
t.zeros(2, 3).repeat(2)
t.cat([])
t.cat([t.zeros(2, 3), t.zeros(2, 2)])
t.stack([t.zeros(2), t.zeros(3)])
t.zeros(2, 3)[2]
t.zeros(2, 3)[0, 0, 0]
t.zeros(2, 3)[[0, 5]]
t.zeros(2, 3)['a']
t.zeros(2, 3)[1.5]
t.zeros(2, 3)[t.zeros(2)]
t.zeros(2, 3)[::-1]
t.zeros(2, 3)[t.ones(3, dtype=t.bool)]
t.zeros(2, 3).split(0)
t.zeros(2, 3).split([1, 2])
t.zeros(2, 3).chunk(0)
t.zeros(2, 3).narrow(0, 1, 2)
t.zeros(2, 3).select(0, 2)
t.zeros(2, 3).argmax(2)
t.zeros(0).argmax()
t.zeros(0).max()
t.zeros(0, 3).amax(0)
t.zeros(2, 3).topk(4)
t.zeros(2, 3).gather(1, t.zeros(2, 3))
t.zeros(2, 3).gather(1, t.full((2, 1), 3))
t.zeros(2, 3).gather(0, t.zeros(1, dtype=t.int64))
t.zeros(2, 3).item()
bool(t.zeros(2))
float(t.zeros(2))
len(t.tensor(1.0))
iter(t.tensor(1.0))
t.zeros(-1)
t.zeros('a')
t.randn(2, -3)
t.arange(0, 5, 0)
t.randint(3, 3, (2,))
t.tensor([[1], [1, 2]])
t.tensor('a')
t.tensor(None)
t.eye(-1)
t.zeros(2).requires_grad_().numpy()
t.zeros(2, dtype=t.int64, requires_grad=True)
t.zeros(2, requires_grad=True).add_(1)
t.zeros(2, requires_grad=True).backward()
t.zeros(2).sum().backward()
t.zeros(2).add_(t.zeros(3, 2))
t.zeros(2, dtype=t.int64).add_(0.5)
t.zeros(2).__setitem__(slice(None), t.zeros(3))
t.zeros(2).__setitem__(5, 1.0)
t.einsum('ij,jk->ik', t.zeros(2, 3), t.zeros(2, 3))
t.einsum('ij->ik', t.zeros(2, 3))
t.einsum('ij', t.zeros(2))
t.multinomial(t.zeros(3), 1)
t.multinomial(t.ones(3), 4)
t.zeros(2).clamp()
t.zeros(2, 3).norm('nuclear!')
t.zeros(2, 3).diagonal(0, 0, 0)
t.zeros(2).tril()
t.zeros(2, 3).flip(2)
t.zeros(2, 3).roll((1, 2), (0,))
t.device('gpu')
t.zeros(2, device='tpu')
t.zeros(2).to('nowhere')
t.nn.functional.one_hot(t.tensor([3]), 2)
t.nn.functional.one_hot(t.tensor([-1]))
t.zeros(2) + 'a'
t.zeros(2) + None
t.zeros(3)[t.tensor([3])]
""".strip().splitlines()


@pytest.mark.parametrize("program", WRONG)
def test_same_kind_of_error(program: str) -> None:
    """What PyTorch refuses is refused, with the same kind of exception.

    PyTorch's RuntimeError often means no more than "wrong": there Python's more telling kinds are right too.
    """
    import tinygen.nn  # noqa: F401

    with pytest.raises(Exception) as theirs:
        eval(program, {"t": torch})
    kinds = (RuntimeError, ValueError, IndexError, TypeError) if theirs.type is RuntimeError else theirs.type
    with pytest.raises(kinds) as ours:
        eval(program, {"t": tg})
    message = str(ours.value)
    assert len(message) > 20 and not message.startswith("<"), "an error is a small lesson"
