"""Wrong calls of the public functions: the right kind of error, which names the function, the offending values and a fix.

One row: the call; the exception; what its message must contain.  tests/test_tensor_torch.py compares the kinds with
PyTorch's, tests/nn/test_errors.py has the layers and losses, tests/test_creation.py the factories.
"""

from __future__ import annotations

import re

import pytest

import tinygen as tg
from tinygen import ops
from tinygen.errors import ShapeError

BROADCAST = (
    "cannot be broadcast together; counted from the last axis, sizes must be equal or 1; use reshape or unsqueeze"
)

ROWS = f"""
t.add(x, y)                           | ShapeError | add: shapes (2, 3) and (2,) {BROADCAST}
t.sub(x, y)                           | ShapeError | sub: shapes (2, 3) and (2,) {BROADCAST}
t.mul(x, y)                           | ShapeError | mul: shapes (2, 3) and (2,) {BROADCAST}
t.div(x, y)                           | ShapeError | div: shapes (2, 3) and (2,) {BROADCAST}
t.div(x, 2, rounding_mode='up')       | ValueError | div: rounding_mode; 'floor' or 'trunc'; 'up'
t.pow(x, y)                           | ShapeError | pow: shapes (2, 3) and (2,) {BROADCAST}
t.maximum(x, y)                       | ShapeError | maximum: shapes (2, 3) and (2,) {BROADCAST}
t.minimum(x, y)                       | ShapeError | minimum: shapes (2, 3) and (2,) {BROADCAST}
t.logaddexp(x, y)                     | ShapeError | logaddexp: shapes (2, 3) and (2,) {BROADCAST}
t.remainder(x, y)                     | ShapeError | remainder: shapes (2, 3) and (2,) {BROADCAST}
t.floor_divide(x, y)                  | ShapeError | floor_divide: shapes (2, 3) and (2,) {BROADCAST}
t.eq(x, y)                            | ShapeError | eq: shapes (2, 3) and (2,) {BROADCAST}
t.lt(x, y)                            | ShapeError | lt: shapes (2, 3) and (2,) {BROADCAST}
t.logical_and(x, y)                   | ShapeError | logical_and: shapes (2, 3) and (2,) {BROADCAST}
t.where(x > 0, x, y)                  | ShapeError | where: shapes (2, 3) and (2, 3) and (2,) {BROADCAST}
t.lerp(x, y, 0.5)                     | ShapeError | lerp: shapes (2, 3) and (2,) {BROADCAST}
t.addcmul(x, x, y)                    | ShapeError | shapes (2, 3) and (2,) {BROADCAST}
t.addcdiv(x, x, y)                    | ShapeError | shapes (2, 3) and (2,) {BROADCAST}
t.masked_fill(x, y > 0, 1)            | ShapeError | shapes (2,) and (2, 3) {BROADCAST}
t.allclose(x, y)                      | ShapeError | shapes (2, 3) and (2,) {BROADCAST}
t.clamp(x)                            | ValueError | clamp: at least one of min and max
t.equal(x, 1)                         | TypeError  | equal: two tensors are expected; int
t.exp('a')                            | TypeError  | exp:; argument 1: str 'a'
t.exp(None)                           | TypeError  | exp:; argument 1: NoneType
x + 'a'                               | TypeError  | add:; float32 (2, 3) on cpu; str 'a'
t.bitwise_and(x, x)                   | TypeError  | bitwise_and:; float32
t.bitwise_not(x)                      | TypeError  | bitwise_not:; float32
t.sum(x, 2)                           | IndexError | sum: dim 2 is out of range; 2 dimensions; from -2 to 1
t.sum(x, 'a')                         | TypeError  | sum: dim must be an integer, got 'a'
t.sum(x, (0, 0))                      | ShapeError | sum: dim (0, 0) names a dimension twice
t.mean(x, -3)                         | IndexError | mean: dim -3 is out of range; from -2 to 1
t.var(x, 5)                           | IndexError | var: dim 5 is out of range; from -2 to 1
t.std(x, 5)                           | IndexError | std: dim 5 is out of range; from -2 to 1
t.prod(x, 5)                          | IndexError | prod: dim 5 is out of range; from -2 to 1
t.amax(x, 5)                          | IndexError | amax: dim 5 is out of range; from -2 to 1
t.amin(x[:0], 0)                      | IndexError | amin:; (0, 3); no elements along dim (0,)
t.max(x, 5)                           | IndexError | max: dim 5 is out of range; from -2 to 1
t.min(x, 5)                           | IndexError | min: dim 5 is out of range; from -2 to 1
t.argmax(x, 5)                        | IndexError | argmax: dim 5 is out of range; from -2 to 1
t.argmin(x[:0])                       | IndexError | argmin:; (0, 3); no elements
t.any(x, 5)                           | IndexError | any: dim 5 is out of range; from -2 to 1
t.all(x, 5)                           | IndexError | all: dim 5 is out of range; from -2 to 1
t.cumsum(x, 5)                        | IndexError | cumsum: dim 5 is out of range; from -2 to 1
t.logsumexp(x, 5)                     | IndexError | logsumexp: dim 5 is out of range; from -2 to 1
t.softmax(x, 5)                       | IndexError | softmax: dim 5 is out of range; from -2 to 1
t.log_softmax(x, 5)                   | IndexError | log_softmax: dim 5 is out of range; from -2 to 1
t.norm(x, 2, 5)                       | IndexError | norm: dim 5 is out of range; from -2 to 1
t.norm(x, -1)                         | ValueError | norm: p must be 'fro', a positive number or inf, got -1
t.count_nonzero(x, 5)                 | IndexError | count_nonzero: dim 5 is out of range; from -2 to 1
t.sort(x, 5)                          | IndexError | sort: dim 5 is out of range; from -2 to 1
t.argsort(x, 5)                       | IndexError | argsort: dim 5 is out of range; from -2 to 1
t.topk(x, 5)                          | IndexError | topk: k must be between 0 and 3, the size of dim -1, got 5
t.reshape(x, (5,))                    | ShapeError | reshape: 6 elements; (2, 3); (5,); -1
t.reshape(x, (-1, 4))                 | ShapeError | reshape: 6 elements; (2, 3); (-1, 4)
t.reshape(x, (-1, -1))                | ShapeError | reshape:; one size may be -1
t.reshape(x, 1.5)                     | TypeError  | sizes must be integers, got (1.5,)
t.view(x, 4, 2)                       | ShapeError | 6 elements; (2, 3); (4, 2)
t.view_as(x, y)                       | ShapeError | 6 elements; (2, 3); (2,)
t.flatten(x, 1, 0)                    | ShapeError | flatten: start_dim 1 comes after end_dim 0
t.flatten(x, 3)                       | IndexError | flatten: dim 3 is out of range; from -2 to 1
t.unflatten(x, 1, (2, 2))             | ShapeError | unflatten: sizes (2, 2) do not multiply to 3; dim 1 of (2, 3)
t.permute(x, 0)                       | ShapeError | permute: (0,) is not a permutation of the 2 dimensions of (2, 3)
t.permute(x, (0, 5))                  | IndexError | permute: dim 5 is out of range; from -2 to 1
t.transpose(x, 0, 5)                  | IndexError | transpose: dim 5 is out of range; from -2 to 1
t.t(x[None])                          | ShapeError | t: a tensor of at most 2 dimensions; (1, 2, 3); use mT or permute
t.mT(y)                               | ShapeError | mT:; (2,)
y.mT                                  | ShapeError | mT: a matrix; (2,)
t.movedim(x, 0, 5)                    | IndexError | movedim: dim 5 is out of range; from -2 to 1
t.squeeze(x, 5)                       | IndexError | squeeze: dim 5 is out of range; from -2 to 1
t.unsqueeze(x, 5)                     | IndexError | unsqueeze: dim 5 is out of range; from -3 to 2
t.broadcast_to(x, (4, 3))             | ShapeError | expand: shape (2, 3) cannot be expanded to (4, 3); only dimensions of size 1 can grow
x.expand(3)                           | ShapeError | expand: shape (2, 3); (3,)
x.expand_as(y)                        | ShapeError | expand: shape (2, 3); (2,)
t.tile(x, (-1,))                      | ShapeError | tile: the number of repetitions must not be negative, got (-1,)
x.repeat(2)                           | ShapeError | repeat: (2,) gives fewer numbers than the 2 dimensions of (2, 3)
t.repeat_interleave(x, -1)            | ValueError | repeat_interleave: the number of repetitions must not be negative, got -1
t.cat([])                             | ValueError | cat: a non-empty sequence of tensors
t.cat(x)                              | TypeError  | cat: a sequence of tensors is expected, as in cat([x, y]), got Tensor
t.cat([x, 1])                         | TypeError  | cat: a sequence of tensors; int
t.cat([x, y])                         | ShapeError | cat: tensor 1 has shape (2,), the first one (2, 3); all sizes but that of dim 0
t.cat([x, x], 5)                      | IndexError | cat: dim 5 is out of range; from -2 to 1
t.stack([x, y])                       | ShapeError | stack: tensor 1 has shape (2,), the first one (2, 3)
t.stack([x], 5)                       | IndexError | stack: dim 5 is out of range; from -3 to 2
t.narrow(x, 0, 1, 5)                  | IndexError | narrow: slices 1 to 6 do not exist along dim 0 of shape (2, 3)
t.select(x, 0, 5)                     | IndexError | select: index 5 is out of range for dim 0 of shape (2, 3)
t.unbind(x, 5)                        | IndexError | unbind: dim 5 is out of range; from -2 to 1
t.split(x, 0)                         | ValueError | split: the size of a part must be positive, got 0
t.split(x, [1, 5])                    | ShapeError | split: sizes [1, 5] do not add up to 2, the size of dim 0 of (2, 3)
t.chunk(x, 0)                         | ValueError | chunk: the number of parts must be positive, got 0
t.flip(x, 5)                          | IndexError | flip: dim 5 is out of range; from -2 to 1
t.roll(x, (1, 2), 0)                  | ShapeError | roll: 2 shifts for 1 dims; give one shift for each dimension
t.tril(y)                             | ShapeError | tril: a matrix (or several) is expected, got shape (2,)
t.triu(y)                             | ShapeError | triu: a matrix (or several) is expected, got shape (2,)
t.diagonal(x, 0, 1, 1)                | ShapeError | diagonal: dim1 and dim2 name the same dimension 1
t.diagonal(y)                         | IndexError | diagonal: dim 1 is out of range; 1 dimensions
t.diag(x[None])                       | ShapeError | diag: a vector or a matrix is expected, got shape (1, 2, 3)
t.trace(y)                            | ShapeError | trace: a matrix is expected, got shape (2,)
t.inverse(x)                          | ShapeError | inverse: square matrices; (2, 3)
x[5]                                  | IndexError | index 5 is out of bounds; (2, 3)
x[0, 0, 0]                            | IndexError | too many indices; (2, 3)
x['a']                                | TypeError  | index: slices, integers, tensors; got str
x[1.5]                                | IndexError | index: slices, integers, tensors; got float
x[y]                                  | IndexError | index:; integers or booleans, got float32
x[[5]]                                | IndexError | index 5 is out of bounds; (2, 3)
x[t.ones(3) > 0]                      | IndexError | boolean index did not match; (2, 3)
x[::-1]                               | ValueError | index: the step of a slice must be positive; use flip
x.__setitem__(0, y)                   | ShapeError | setitem:; (2, 3)
x.__setitem__(5, 1.0)                 | IndexError | setitem:; (2, 3)
t.masked_select(x, x)                 | TypeError  | masked_select: the mask must hold truth values, got float32; use mask.bool()
t.masked_fill(i, i > 0, 1.5)          | TypeError  | masked_fill: a tensor of int64 cannot hold 1.5; use input.float()
t.masked_scatter(x, x, x)             | TypeError  | masked_scatter: the mask must hold truth values, got float32
t.masked_scatter(x, x == 0, y)        | ShapeError | masked_scatter: the mask has 6 true elements; only 2
t.index_add(x, 0, x, x)               | IndexError | index: a tensor used as an index must hold integers or booleans, got float32
t.index_add(x, 0, i, y)               | ShapeError | index_add: a source of shape (2, 3) is expected; got (2,)
t.index_copy(x, 1, i, x)              | ShapeError | index_copy: a source of shape (2, 2) is expected; got (2, 3)
t.index_fill(x, 0, i, y)              | ShapeError | index_fill: a single value is expected, got shape (2,)
t.where(x > 0, x)                     | TypeError  | where: either condition alone is expected, or condition, input and other
t.nonzero([1, 0])                     | TypeError  | nonzero: a tensor is expected, got list [1, 0]; tinygen.tensor
t.argwhere([1, 0])                    | TypeError  | nonzero: a tensor is expected, got list [1, 0]
t.unique(x, dim=2)                    | IndexError | unique: dim 2 is out of range; from -2 to 1
t.searchsorted(x, t.zeros(3, 2))      | ShapeError | searchsorted: a sequence (n,), or (*, n) for values (*, m); (2, 3) and (3, 2)
t.searchsorted(y, x, side='up')       | ValueError | searchsorted: side must be 'left' or 'right'; 'up'
t.bucketize(y, x)                     | ShapeError | bucketize: boundaries of one dimension are expected, got shape (2, 3)
t.isclose(x, y)                       | ShapeError | shapes (2, 3) and (2,) {BROADCAST}
t.fmod(x, y)                          | ShapeError | fmod: shapes (2, 3) and (2,) {BROADCAST}
t.atan2(x, y)                         | ShapeError | atan2: shapes (2, 3) and (2,) {BROADCAST}
t.xlogy(x, y)                         | ShapeError | xlogy: shapes (2, 3) and (2,) {BROADCAST}
t.clamp_min(x, y)                     | ShapeError | maximum: shapes (2, 3) and (2,) {BROADCAST}
t.clamp_max(x, y)                     | ShapeError | minimum: shapes (2, 3) and (2,) {BROADCAST}
t.dist(x, y)                          | ShapeError | shapes (2, 3) and (2,) {BROADCAST}
t.broadcast_tensors(x, y)             | ShapeError | broadcast_tensors: shapes [(2, 3), (2,)] have no common one
t.cdist(x, t.zeros(2, 2))             | ShapeError | cdist: rows of one length; (2, 3) and (2, 2)
t.polygamma(-1, x)                    | ValueError | polygamma: the order n must be an integer >= 0, got -1
t.nan_to_num(1.0)                     | TypeError  | nan_to_num: a tensor is expected, got float 1.0
t.cumprod(x, 2)                       | IndexError | cumprod: dim 2 is out of range; from -2 to 1
t.cummax(x, 2)                        | IndexError | cummax: dim 2 is out of range; from -2 to 1
t.cummin(x, 2)                        | IndexError | cummin: dim 2 is out of range; from -2 to 1
t.logcumsumexp(i, 0)                  | TypeError  | logcumsumexp: a floating-point tensor is expected, got int64; use input.float()
t.diff(s)                             | ValueError | diff: a tensor of at least one dimension is expected
t.diff(x, -1)                         | ValueError | diff: the order n must not be negative, got -1
t.median(x, 2)                        | IndexError | median: dim 2 is out of range; from -2 to 1
t.median([1, 2])                      | TypeError  | median: a tensor is expected, got list [1, 2]
t.nanmedian(x, 2)                     | IndexError | nanmedian: dim 2 is out of range; from -2 to 1
t.mode(x[:0], 0)                      | IndexError | mode: a tensor of shape (0, 3) has no elements along dim 0
t.kthvalue(x, 4)                      | IndexError | kthvalue: k must be from 1 to 3, the size of dim -1, got 4
t.quantile(x, 1.5)                    | ValueError | quantile: q must be a number from 0 to 1; got 1.5
t.quantile(i, 0.5)                    | TypeError  | quantile: a floating-point tensor is expected, got int64
t.quantile(x, 0.5, interpolation='x') | ValueError | quantile: interpolation must be one of; 'linear'; got 'x'
t.aminmax(x, dim=2)                   | IndexError | amin: dim 2 is out of range; from -2 to 1
t.var_mean(x, 2)                      | IndexError | var: dim 2 is out of range; from -2 to 1
t.std_mean(x, 2)                      | IndexError | std: dim 2 is out of range; from -2 to 1
t.bincount(x)                         | TypeError  | bincount: a one-dimensional tensor of integers is expected, got float32 (2, 3)
t.bincount(i, x)                      | ShapeError | bincount: weights of shape (2, 3) for an input of shape (2,)
t.histc(x, 0)                         | ValueError | histc: bins > 0 and min <= max are needed, got bins=0
t.ravel([1])                          | TypeError  | ravel: a tensor is expected, got list [1]
t.hstack([x, t.zeros(3, 3)])          | ShapeError | cat: tensor 1 has shape (3, 3), the first one (2, 3)
t.vstack([x, y])                      | ShapeError | cat: tensor 1 has shape (1, 2), the first one (2, 3)
t.dstack([x, y])                      | ShapeError | cat: tensor 1 has shape (1, 2, 1), the first one (2, 3, 1)
t.column_stack([x, t.zeros(3)])       | ShapeError | cat: tensor 1 has shape (3, 1), the first one (2, 3)
t.hstack(x)                           | TypeError  | hstack: a sequence of tensors is expected
t.tensor_split(x, 0)                  | ValueError | tensor_split: the number of parts must be positive, got 0
t.rot90(x, 1, (0, 0))                 | ValueError | rot90: two different dimensions are expected, got (0, 0)
t.fliplr(y)                           | IndexError | fliplr: dim 1 is out of range; from -1 to 0
t.flipud(s)                           | IndexError | flipud: dim 0 is out of range
t.block_diag(x[None])                 | ShapeError | block_diag: one matrix or more is expected, got shapes [(1, 2, 3)]
t.diag_embed(x, 0, 1, 1)              | ShapeError | diag_embed: two different dimensions are expected, got 1 and 1
t.movedim(x, (0, 1), 0)               | ShapeError | movedim: different dimensions, and as many places, are expected, got (0, 1) and 0
t.addmm(x, x, x)                      | ShapeError | matmul: shapes (2, 3) and (2, 3) do not fit
t.addmm(x, y, x)                      | ShapeError | addmm: tensors of 2 and 2 dimensions; (2,) and (2, 3)
t.addmv(y, x, x)                      | ShapeError | addmv: tensors of 2 and 1 dimensions; (2, 3)
t.addr(x, x, y)                       | ShapeError | outer: tensors of 1 and 1 dimensions; (2, 3) and (2,)
t.addbmm(x, x, x)                     | ShapeError | addbmm: tensors of 3 and 3 dimensions; (2, 3)
t.baddbmm(x, x, x)                    | ShapeError | baddbmm: tensors of 3 and 3 dimensions; (2, 3)
t.tensordot(x, x, 1)                  | ShapeError | tensordot: the sizes to sum over must be equal, got [3] and [2]
t.kron(x, 2)                          | TypeError  | kron: a tensor is expected, got int 2
t.cross(x, y)                         | ShapeError | cross: dim -1 must have size 3 in both, got (2, 3) and (2,)
t.det(x)                              | ShapeError | det: square matrices (*, n, n) are expected, got shape (2, 3)
t.logdet(x)                           | ShapeError | slogdet: square matrices (*, n, n) are expected, got shape (2, 3)
t.slogdet(x)                          | ShapeError | slogdet: square matrices (*, n, n) are expected, got shape (2, 3)
t.det(x[:, :2].half())                | TypeError  | det: float32 or float64 is expected, got float16; use x.float()
t.pinverse(y)                         | ShapeError | pinv: matrices (*, m, n) are expected, got shape (2,)
t.matrix_power(x[:, :2], 0.5)         | TypeError  | matrix_power: n must be an integer, got 0.5
t.gather(x, 0, i)                     | ShapeError | gather: an index of shape (2,); (2, 3); the same number of dimensions
t.gather(x, 0, x)                     | TypeError  | gather: the index must hold integers, got float32
t.gather(x, 0, big)                   | IndexError | gather: indices from 7 to 7 are out of range for dim 0 of size 2
t.scatter(x, 0, i, 1.0)               | ShapeError | scatter: an index of shape (2,); (2, 3)
t.scatter(x, 0, big * 0, x[:, :1])    | ShapeError | scatter: src has shape (2, 1), the index (1, 3)
t.scatter_add(x, 0, big, x)           | IndexError | scatter_add: indices from 7 to 7 are out of range for dim 0 of size 2
t.index_select(x, 5, i)               | IndexError | index_select: dim 5 is out of range; from -2 to 1
t.index_select(x, 0, i + 5)           | IndexError | out of bounds; (2, 3)
t.take_along_dim(x, i, 0)             | ShapeError | take_along_dim:; (2,); (2, 3); same number of dimensions
t.one_hot(i, 1)                       | ValueError | one_hot: class numbers must be between 0 and 0, got 0 to 1
t.one_hot(x)                          | TypeError  | one_hot: class numbers must be integers, got float32; use input.long()
t.matmul(x, x)                        | ShapeError | matmul: shapes (2, 3) and (2, 3) do not fit; 3, must equal; 2
t.matmul(x, s)                        | ShapeError | matmul:; at least one dimension; (2, 3) and (); use *
t.matmul(x[None], x.T.expand(4, 3, 2)[:3].contiguous().reshape(3, 3, 2)[:, :, :1].expand(3, 3, 1)[:, :2]) | ShapeError | matmul:
x @ [1, 2, 3]                         | TypeError  | matmul: two tensors are expected, got Tensor and list
t.mm(x, y)                            | ShapeError | mm: tensors of 2 and 2 dimensions; (2, 3) and (2,); matmul takes any number
t.bmm(x, x)                           | ShapeError | bmm: tensors of 3 and 3 dimensions; (2, 3)
t.bmm(x[None], x.T.expand(2, 3, 2))   | ShapeError | bmm: batches of 1 and 2 matrices
t.mv(x, x)                            | ShapeError | mv: tensors of 2 and 1 dimensions; (2, 3)
t.mv(x, y)                            | ShapeError | shapes (2, 3) and (2,) do not fit; 3, must equal; 2
t.dot(x, y)                           | ShapeError | dot: tensors of 1 and 1 dimensions; (2, 3)
t.outer(x, y)                         | ShapeError | outer: tensors of 1 and 1 dimensions; (2, 3)
t.linear(x, x.T)                      | ShapeError | linear: the input's last size must be the weight's second; (2, 3); (3, 2)
t.linear(x, x, y[:1])                 | ShapeError | linear: a bias of shape (2,) is expected, got (1,)
t.einsum('ij,jk->ik', x, x)           | ShapeError | einsum: the letter 'j' of 'ij,jk->ik' stands for sizes 3 and 2
t.einsum('ij->ik', x)                 | ValueError | einsum: the output letter 'k' of 'ij->ik'
t.einsum('ij', y)                     | ShapeError | einsum: 'ij'; 1 dimensions
t.einsum('i1->i', x)                  | ValueError | einsum: '1' in 'i1->i' is not a letter
t.einsum('ij,jk', x)                  | ValueError | einsum: 'ij,jk' describes 2 operands, got 1
x.item()                              | RuntimeError | item: a tensor with one element is expected, got shape (2, 3); use tolist()
bool(x)                               | RuntimeError | bool:; 6 elements; any() or all()
len(s)                                | TypeError  | len: a tensor without dimensions
iter(s)                               | TypeError  | iter: a tensor without dimensions; use item()
t.set_num_threads(0)                  | ValueError | set_num_threads: a positive whole number is expected, got 0
x.to('nowhere')                       | ValueError | device: no such device 'nowhere'; use 'cpu'
x.backward()                          | RuntimeError | backward:; (2, 3); requires_grad=True
w.backward()                          | RuntimeError | backward:; single number; (2, 3); sum() or mean()
w.numpy()                             | RuntimeError | numpy:; requires a gradient; use detach().numpy()
w.add_(1)                             | RuntimeError | add_: a leaf that requires a gradient; no_grad; clone()
i.requires_grad_()                    | RuntimeError | requires_grad_: only floating-point; int64
i.add_(0.5)                           | TypeError  | float32 cannot be stored in a tensor of dtype int64
x.add_(x[None])                       | ShapeError | (1, 2, 3) does not fit; (2, 3)
"""


def setting() -> dict:
    x = tg.zeros(2, 3)
    return {
        "t": tg,
        "x": x,
        "y": tg.zeros(2),
        "s": tg.tensor(1.0),
        "i": tg.arange(2),
        "big": tg.full((1, 3), 7),
        "w": tg.zeros(2, 3, requires_grad=True),
    }


KINDS = {"ShapeError": ShapeError, **{k.__name__: k for k in (TypeError, ValueError, IndexError, RuntimeError)}}
TABLE = [tuple(part.strip() for part in row.split(" | ")) for row in ROWS.strip().splitlines()]


@pytest.mark.parametrize(("call", "kind", "parts"), TABLE, ids=[row[0] for row in TABLE])
def test_a_wrong_call(call, kind, parts):
    with pytest.raises(KINDS[kind]) as caught:
        eval(call, setting())
    message = re.sub(r"\s+", " ", str(caught.value))
    position = 0
    for part in parts.split("; "):
        found = message.find(part, position)
        assert found >= 0, f"{part!r} is missing in, or out of order: {message}"
        position = found
    if isinstance(caught.value, ShapeError):
        assert isinstance(caught.value, ValueError) and isinstance(caught.value, RuntimeError)


# One argument of any shape and dtype: only its type can be wrong.
SINGLE = """abs neg exp expm1 log log1p log2 log10 sqrt rsqrt square reciprocal sign sin cos tan atan sinh cosh tanh sigmoid
softplus erf relu floor ceil round isnan isinf isfinite logical_not clone contiguous asin acos asinh acosh atanh erfc erfinv lgamma digamma exp2 trunc logit""".split()
# Two arguments: the rows of the table would be copies of those above.
PAIRS = "ne le gt ge logical_or logical_xor bitwise_or bitwise_xor".split()


def test_every_public_function_is_covered():
    calls = " ".join(row[0] for row in TABLE)
    named = {name for name in ops.__all__ if f".{name}(" in calls} | {*SINGLE, *PAIRS}
    named |= {"index", "expand_dims", "frac"}  # x[...] and x.expand(...); x - trunc(x)
    missing = {name for name in ops.__all__ if all(getattr(ops, name) is not getattr(ops, other) for other in named)}
    assert not missing


@pytest.mark.parametrize("name", PAIRS)
def test_shapes_that_do_not_broadcast(name):
    x = tg.zeros(2, 3, dtype=tg.int64)
    with pytest.raises(ShapeError, match=rf"{name}: shapes \(2, 3\) and \(2,\) cannot be broadcast together"):
        getattr(tg, name)(x, tg.zeros(2, dtype=tg.int64))


@pytest.mark.parametrize("name", SINGLE)
def test_a_wrong_type(name):
    with pytest.raises(TypeError, match=rf"(?s){name}: .*argument 1: str 'a'"):
        getattr(tg, name)("a")


@pytest.mark.parametrize("name", "add sub mul div pow maximum matmul where cat stack linear gather masked_fill".split())
def test_devices_that_differ(name):
    x, y = tg.ones(2, 2), tg.ones(2, 2, device="strict")
    calls = {
        "where": lambda: tg.where(x > 0, x, y),
        "cat": lambda: tg.cat([x, y]),
        "stack": lambda: tg.stack([x, y]),
        "linear": lambda: tg.linear(x, y),
        "gather": lambda: tg.gather(y, 0, tg.zeros(2, 2, dtype=tg.int64)),
        "masked_fill": lambda: tg.masked_fill(y, x > 0, 1.0),
    }
    with pytest.raises(RuntimeError, match=r"(?s)different devices, cpu and strict.*move them to one.*\.to\('cpu'\)"):
        calls.get(name, lambda: getattr(tg, name)(x, y))()


def test_the_line_of_the_program_is_in_errors_of_the_backward_pass():
    x = tg.ones(2, requires_grad=True)
    y = x.exp()
    y.detach().zero_()
    with pytest.raises(RuntimeError, match=r"'exp' at test_errors\.py:\d+"):
        y.sum().backward()
