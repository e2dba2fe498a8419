"""Wrong calls: the right exception, which names the function, what came, and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

import tinygen as tg
from tinygen import nn
from tinygen.nn import functional as F
from tinygen.nn import init

x23, x32, x3 = tg.zeros(2, 3), tg.zeros(3, 2), tg.zeros(3)
labels = tg.tensor([0, 1])
SAME_SHAPE_LOSSES = [
    F.mse_loss, F.l1_loss, F.huber_loss, F.smooth_l1_loss, F.binary_cross_entropy, F.binary_cross_entropy_with_logits, F.kl_div,
    lambda x, y: F.gaussian_nll_loss(x, y, x), F.poisson_nll_loss, F.soft_margin_loss, F.multilabel_soft_margin_loss,
    F.hinge_embedding_loss, lambda x, y: F.margin_ranking_loss(x, x, y),
]  # fmt: skip

# fmt: off
# what is called, the exception, and what its message must say
WRONG: list[tuple[Callable, type[Exception], str]] = [
    (lambda: F.dropout(x3, 1.5),                          ValueError, r"dropout: .* between 0 and 1, got 1\.5"),
    (lambda: nn.Dropout(-0.1),                            ValueError, r"Dropout: .* between 0 and 1, got -0\.1"),
    (lambda: F.gelu(x3, "fast"),                          ValueError, r"gelu: approximate must be 'none' or 'tanh', got 'fast'"),
    (lambda: F.prelu(x23, x23),                           tg.ShapeError, r"prelu: a weight with one slope, or one for each of the 3 channels [\s\S]*\(2, 3\)"),
    (lambda: F.hardtanh(x3, 1.0, 1.0),                    ValueError, r"hardtanh: min_val < max_val is needed, got 1\.0 and 1\.0"),
    (lambda: nn.Hardtanh(2, 1),                           ValueError, r"Hardtanh: min_val < max_val is needed, got 2 and 1"),
    (lambda: F.softshrink(x3, -1),                        ValueError, r"softshrink: lambd must not be negative, got -1"),
    (lambda: F.celu(x3, 0),                               ValueError, r"celu: alpha must be positive, got 0"),
    (lambda: F.glu(x3),                                   tg.ShapeError, r"glu: an even size along dim -1 is expected, got an input of shape \(3,\)"),
    (lambda: F.gumbel_softmax(x3, 0),                     ValueError, r"gumbel_softmax: tau must be positive, got 0"),
    (lambda: nn.PReLU(0),                                 ValueError, r"PReLU: num_parameters must be a positive integer, got 0"),
    (lambda: nn.Softmax2d()(x23),                         tg.ShapeError, r"Softmax2d: an input of shape \(N, C, H, W\) or \(C, H, W\) is expected, got \(2, 3\)"),
    (lambda: F.softmax(x3, dim=1),                        IndexError, r"softmax: dim 1 is out of range for a tensor with 1 dim"),
    (lambda: nn.Linear(4, 2)(x23),                        tg.ShapeError, r"Linear\(in_features=4, out_features=2\): .* must be 4, got \(2, 3\); use Linear\(3, 2\)"),
    (lambda: F.linear(x23, tg.zeros(2, 4)),               tg.ShapeError, r"linear: [\s\S]*\(2, 3\)[\s\S]*\(2, 4\)"),
    (lambda: nn.Embedding(3, 2, sparse=True),             NotImplementedError, r"Embedding: sparse gradients are not built"),
    (lambda: F.embedding(labels, x23, scale_grad_by_freq=True), NotImplementedError, r"embedding: scale_grad_by_freq is not built"),
    (lambda: nn.Embedding.from_pretrained(x3),            tg.ShapeError, r"Embedding\.from_pretrained: a matrix is expected, got shape \(3,\)"),
    (lambda: nn.Linear(0, 2),                             ValueError, r"Linear: in_features must be a positive integer, got 0"),
    (lambda: nn.Linear(2, 2.5),                           ValueError, r"Linear: out_features must be a positive integer, got 2\.5"),
    (lambda: nn.Linear(2, True),                          ValueError, r"Linear: out_features must be a positive integer, got True"),
    (lambda: nn.Bilinear(2, 3, -1),                       ValueError, r"Bilinear: out_features must be a positive integer, got -1"),
    (lambda: nn.Bilinear(2, 3, 4)(x23, x23),              tg.ShapeError, r"bilinear: [\s\S]*input1 \(2, 3\)[\s\S]*weight \(4, 2, 3\)[\s\S]*bias   \(4,\)"),
    (lambda: F.bilinear(x23, tg.zeros(3, 3), tg.zeros(1, 3, 3)), tg.ShapeError, r"bilinear: [\s\S]*input2 \(3, 3\)"),
    (lambda: nn.Embedding(3, 0),                          ValueError, r"Embedding: embedding_dim must be a positive integer, got 0"),
    (lambda: nn.Embedding(3, 2, padding_idx=3),           ValueError, r"Embedding: padding_idx 3 is out of range for 3 rows"),
    (lambda: F.embedding(labels, x23, padding_idx=2),     ValueError, r"embedding: padding_idx 2 is out of range for 2 rows"),
    (lambda: nn.Embedding(2, 2)(tg.tensor([0, 2])),       IndexError, r"embedding: row numbers from 0 to 2 .* rows 0 to 1"),
    (lambda: nn.Embedding(2, 2)(tg.tensor([-1, 1])),      IndexError, r"embedding: row numbers from -1 to 1"),
    (lambda: nn.Embedding(2, 2)(x3),                      TypeError,  r"embedding: the input must hold integers, got float32"),
    (lambda: F.mse_loss(x3, x3, reduction="avg"),         ValueError, r"mse_loss: reduction must be 'mean', 'sum' or 'none', got 'avg'"),
    (lambda: F.cross_entropy(x23, labels, reduction="avg"), ValueError, r"cross_entropy: reduction must be"),
    (lambda: F.kl_div(x3, x3, reduction="avg"),           ValueError, r"kl_div: reduction must be"),
    (lambda: F.huber_loss(x3, x3, delta=0),               ValueError, r"huber_loss: delta must be positive, got 0"),
    (lambda: F.smooth_l1_loss(x3, x3, beta=-1),           ValueError, r"smooth_l1_loss: beta must not be negative, got -1"),
    (lambda: F.binary_cross_entropy(x3 - 0.5, x3),        ValueError, r"binary_cross_entropy: [\s\S]* from -0\.5 to -0\.5[\s\S]*with_logits"),
    (lambda: F.binary_cross_entropy(x3 + 1.5, x3),        ValueError, r"between 0 and 1"),
    (lambda: F.binary_cross_entropy(x3 * float("nan"), x3), ValueError, r"from nan to nan"),
    (lambda: F.binary_cross_entropy(x3, x3, weight=x23),  tg.ShapeError, r"binary_cross_entropy: a weight of shape \(2, 3\) does not fit an input of shape \(3,\)"),
    (lambda: F.gaussian_nll_loss(x23, x23, x3),           tg.ShapeError, r"gaussian_nll_loss: a variance of shape \(3,\) [\s\S]*\(2, 3\), \(2,\), or sizes of 1"),
    (lambda: F.gaussian_nll_loss(x3, x3, 1.0, eps=0),     ValueError, r"gaussian_nll_loss: eps must be positive, got 0"),
    (lambda: F.multi_margin_loss(x23, labels, 3),         ValueError, r"multi_margin_loss: p must be 1 or 2, got 3"),
    (lambda: F.multi_margin_loss(x23[None], labels),      tg.ShapeError, r"multi_margin_loss: an input of shape \(N, C\) or \(C,\) is expected, got \(1, 2, 3\)"),
    (lambda: F.multi_margin_loss(x23, labels - 1),        IndexError, r"multi_margin_loss: class numbers from -1 to 0"),
    (lambda: F.multi_margin_loss(x23, labels.float()),    TypeError,  r"multi_margin_loss: the target must hold class numbers, integers, got float32; use target\.long\(\)"),
    (lambda: F.cosine_embedding_loss(x23, x23, x3),       tg.ShapeError, r"cosine_embedding_loss: vectors \(N, D\) and targets \(N,\)[\s\S]*\(3,\)"),
    (lambda: F.triplet_margin_loss(x23, x23, x3),         tg.ShapeError, r"triplet_margin_loss: .* same number of dimensions, got shapes \(2, 3\), \(2, 3\) and \(3,\)"),
    (lambda: F.margin_ranking_loss(x23, x23, x3),         tg.ShapeError, r"margin_ranking_loss: input and target must have the same shape"),
    (lambda: F.multilabel_soft_margin_loss(x3.sum(), x3.sum()), tg.ShapeError, r"multilabel_soft_margin_loss: an input of shape \(N, C\) or \(C,\)"),
    (lambda: F.rms_norm(x23, 2),                          tg.ShapeError, r"rms_norm: the input's last sizes must be \(2,\), got an input of shape \(2, 3\)"),
    (lambda: F.local_response_norm(x23, 2),               tg.ShapeError, r"local_response_norm: an input of shape \(N, C, d1, \.\.\.\) is expected, got \(2, 3\)"),
    (lambda: F.local_response_norm(x23[None], 0),         ValueError, r"local_response_norm: size must be a positive integer, got 0"),
    (lambda: F.gaussian_nll_loss(x3, x3, x3 - 2),         ValueError, r"gaussian_nll_loss: the variance must not be negative, got -2"),
    (lambda: F.gaussian_nll_loss(x3, x3, -1.0),           ValueError, r"must not be negative, got -1"),
    (lambda: F.cross_entropy(x23, tg.tensor([0, 3])),     IndexError, r"cross_entropy: class numbers from 0 to 3 [\s\S]*\(2, 3\) has classes 0 to 2"),
    (lambda: F.cross_entropy(x23, tg.tensor([-1, 0])),    IndexError, r"cross_entropy: class numbers from -1 to 0"),
    (lambda: F.cross_entropy(x23, tg.tensor([0, 1, 2])),  tg.ShapeError, r"cross_entropy: a target of shape \(2,\) is expected[\s\S]*\(3,\)"),
    (lambda: F.cross_entropy(x23, tg.tensor([0.0, 1.0])), tg.ShapeError, r"cross_entropy: target probabilities must have the input's shape \(2, 3\), got \(2,\); class numbers must be integers: use target\.long\(\)"),
    (lambda: F.cross_entropy(tg.tensor(1.0), tg.tensor(0)), tg.ShapeError, r"cross_entropy: an input of shape \(C,\), \(N, C\) or \(N, C, d1, \.\.\.\) is expected"),
    (lambda: F.cross_entropy(x23, labels, x32),           tg.ShapeError, r"cross_entropy: one weight for each of the 3 classes is expected, got shape \(3, 2\)"),
    (lambda: F.cross_entropy(x23, x23, tg.zeros(2)),      tg.ShapeError, r"one weight for each of the 3 classes"),
    (lambda: F.cross_entropy(x23, labels, label_smoothing=2), ValueError, r"label_smoothing must be between 0 and 1, got 2"),
    (lambda: F.nll_loss(x23, tg.tensor([0.0, 1.0])),      TypeError,  r"nll_loss: the target must hold class numbers, integers, got float32"),
    (lambda: F.batch_norm(x3, None, None, training=True), tg.ShapeError, r"batch_norm: an input of shape \(N, C\)[\s\S]* got \(3,\)"),
    (lambda: F.batch_norm(x23, None, None),               ValueError, r"batch_norm: running_mean and running_var are needed"),
    (lambda: F.batch_norm(x23, None, None, labels.float(), training=True), tg.ShapeError, r"batch_norm: weight must have one value for each of the 3 channels[\s\S]*\(2,\)"),
    (lambda: F.batch_norm(x23[:1], None, None, training=True), ValueError, r"batch_norm: more than one value per channel[\s\S]*\(1, 3\); use a larger batch, or eval\(\)"),
    (lambda: nn.BatchNorm1d(4)(x23),                      tg.ShapeError, r"BatchNorm1d: an input of shape \(N, 4\) or \(N, 4, d\) is expected, got \(2, 3\)"),
    (lambda: nn.BatchNorm1d(2)(tg.zeros(1, 2, 3, 4)),     tg.ShapeError, r"BatchNorm1d: .* got \(1, 2, 3, 4\)"),
    (lambda: nn.BatchNorm1d(0),                           ValueError, r"BatchNorm1d: num_features must be a positive integer, got 0"),
    (lambda: nn.BatchNorm2d(3)(x23),                      tg.ShapeError, r"BatchNorm2d: an input of shape \(N, 3, d, d\) is expected, got \(2, 3\)"),
    (lambda: F.instance_norm(x3),                         tg.ShapeError, r"instance_norm: an input of shape \(N, C\)[\s\S]* got \(3,\)"),
    (lambda: F.instance_norm(x23),                        ValueError, r"instance_norm: more than one position is needed: [\s\S]*\(2, 3\)"),
    (lambda: F.instance_norm(x23[..., None], x3, use_input_stats=False), ValueError, r"instance_norm: running_mean and running_var are needed"),
    (lambda: F.instance_norm(x23[..., None], weight=labels.float()), tg.ShapeError, r"instance_norm: weight must have one value for each of the 3 channels[\s\S]*\(2,\)"),
    (lambda: nn.InstanceNorm1d(4)(tg.zeros(2, 3, 5)),     tg.ShapeError, r"InstanceNorm1d: an input of shape \(N, 4, d\) is expected, got \(2, 3, 5\)"),
    (lambda: nn.InstanceNorm2d(0),                        ValueError, r"InstanceNorm2d: num_features must be a positive integer, got 0"),
    (lambda: F.group_norm(x3, 1),                         tg.ShapeError, r"group_norm: an input of shape \(N, C\)[\s\S]* got \(3,\)"),
    (lambda: F.group_norm(x23, 2),                        ValueError, r"group_norm: 3 channels cannot be divided into 2 groups of one size; got input shape \(2, 3\)"),
    (lambda: F.group_norm(x23, 1, bias=labels.float()),   tg.ShapeError, r"group_norm: bias must have one value for each of the 3 channels"),
    (lambda: nn.GroupNorm(2, 3),                          ValueError, r"GroupNorm: 3 channels cannot be divided into 2 groups"),
    (lambda: nn.GroupNorm(0, 3),                          ValueError, r"GroupNorm: num_groups must be a positive integer, got 0"),
    (lambda: nn.GroupNorm(2, 4)(x23),                     tg.ShapeError, r"GroupNorm: an input of shape \(N, 4, \.\.\.\) is expected, got \(2, 3\)"),
    (lambda: F.dropout1d(x3),                             tg.ShapeError, r"dropout1d: an input of shape \(N, C, L\) or \(C, L\) is expected, got \(3,\)"),
    (lambda: F.dropout2d(x23[None]),                      tg.ShapeError, r"dropout2d: an input of shape \(N, C, H, W\) is expected, got \(1, 2, 3\); use unsqueeze\(0\)"),
    (lambda: F.dropout3d(x23),                            tg.ShapeError, r"dropout3d: an input of shape \(N, C, D, H, W\) or \(C, D, H, W\) is expected, got \(2, 3\)"),
    (lambda: F.dropout2d(x23[None, None], 2.0),           ValueError, r"dropout2d: .* between 0 and 1, got 2\.0"),
    (lambda: nn.Dropout2d(-1.0),                          ValueError, r"Dropout2d: .* between 0 and 1, got -1\.0"),
    (lambda: F.layer_norm(x23, (2,)),                     tg.ShapeError, r"layer_norm: the input's last sizes must be \(2,\), got an input of shape \(2, 3\)"),
    (lambda: F.layer_norm(x23, 3, x23),                   tg.ShapeError, r"layer_norm: a weight of shape \(3,\) is expected, got \(2, 3\)"),
    (lambda: F.layer_norm(x23, ()),                       tg.ShapeError, r"layer_norm: "),
    (lambda: nn.LayerNorm(0),                             ValueError, r"LayerNorm: normalized_shape must be a positive integer, got 0"),
    (lambda: nn.Unflatten(1, (2, 2))(x23),                tg.ShapeError, r"unflatten: sizes \(2, 2\) do not multiply to 3"),
    (lambda: init.xavier_normal_(tg.zeros(3)),            tg.ShapeError, r"xavier_normal_: fan_in and fan_out need a weight of at least 2 dimensions, got shape \(3,\)"),
    (lambda: init.kaiming_uniform_(x23, mode="fan"),      ValueError, r"kaiming_uniform_: mode must be 'fan_in' or 'fan_out', got 'fan'"),
    (lambda: init.kaiming_normal_(x23, nonlinearity="x"), ValueError, r"calculate_gain: unknown nonlinearity 'x'; known are linear"),
    (lambda: init.orthogonal_(x3),                        tg.ShapeError, r"orthogonal_: .* at least 2 dimensions is expected, got shape \(3,\)"),
    (lambda: init.dirac_(x23),                            tg.ShapeError, r"dirac_: a tensor of 3, 4 or 5 dimensions is expected, got shape \(2, 3\)"),
    (lambda: init.dirac_(x23[None], 2),                   ValueError, r"dirac_: 1 outputs cannot be divided into 2 groups"),
    (lambda: init.sparse_(x3, 0.5),                       tg.ShapeError, r"sparse_: a matrix is expected, got shape \(3,\)"),
    (lambda: init.sparse_(x23, 1.5),                      ValueError, r"sparse_: sparsity must be between 0 and 1, got 1\.5"),
    (lambda: init.eye_(x3),                               tg.ShapeError, r"eye_: a matrix is expected, got shape \(3,\)"),
    (lambda: init.trunc_normal_(x3, a=1.0, b=0.0),        ValueError, r"trunc_normal_: a < b and std > 0 are needed, got a=1\.0, b=0\.0, std=1"),
    (lambda: nn.AffineCoupling([0, 2], nn.Identity(), nn.Identity()), ValueError, r"AffineCoupling: the mask must consist of 0 and 1, got \[0, 2\]"),
    (lambda: nn.AdditiveCoupling([0, 1], nn.Identity())(x23), tg.ShapeError, r"AdditiveCoupling: after the mask, an input of shape \('batch', 2\) is expected, got \(2, 3\)"),
    (lambda: nn.AdditiveCoupling([0, 1, 1], nn.Linear(3, 2)).inverse(x23), tg.ShapeError, r"AdditiveCoupling: for an input of shape \(2, 3\), translate_net must return \(2, 3\), got \(2, 2\)"),
    (lambda: nn.AffineCoupling([0, 1, 1], nn.Linear(3, 1), nn.Identity())(x23), tg.ShapeError, r"AffineCoupling: for an input of shape \(2, 3\), scale_net must return \(2, 3\), got \(2, 1\)"),
    (lambda: nn.Module().register_parameter("a", x3),     TypeError,  r"register_parameter: 'a' must be an nn\.Parameter or None, got Tensor"),
    (lambda: nn.Module().register_buffer("a", np.ones(2)), TypeError, r"register_buffer: 'a' must be a tensor or None, got ndarray"),
    (lambda: nn.Module().register_module("a", x3),        TypeError,  r"register_module: 'a' must be an nn\.Module or None, got Tensor"),
    (lambda: nn.Module().register_buffer("a.b", x3),      KeyError,   r"register_buffer: a name is a non-empty string without dots, got 'a\.b'"),
    (lambda: nn.Module().register_buffer("forward", x3),  KeyError,   r"register_buffer: Module has an attribute 'forward' already"),
    (lambda: nn.Linear(1, 1).register_buffer("in_features", x3), KeyError, r"register_buffer: Linear has an attribute 'in_features' already"),
    (lambda: nn.Sequential(nn.ReLU()).get_submodule("0.1"), AttributeError, r"get_submodule: ReLU has no child '1' \(path '0\.1'\)"),
    (lambda: nn.Linear(1, 1).load_state_dict([1]),        TypeError,  r"load_state_dict: a dict of tensors is expected, got list"),
    (lambda: nn.Sequential(nn.ReLU(), F.relu),            TypeError,  r"Sequential: an nn\.Module is expected, got function"),
    (lambda: F.pad(x23, (1, 2, 3)),                       ValueError, r"pad: pairs of whole numbers \(before, after\), the last dimension first, .* got \(1, 2, 3\)"),
    (lambda: F.pad(x23, (1, 1), "mirror"),                ValueError, r"pad: mode must be one of 'constant', 'reflect', .* got 'mirror'"),
    (lambda: F.pad(x23, (0, 1) * 3),                      tg.ShapeError, r"pad: 3 pairs of numbers for 2 dimensions of an input of shape \(2, 3\)"),
    (lambda: F.pad(x23, (-4, 1)),                         tg.ShapeError, r"pad: \(-4, 1\) cuts off more than there is of dim 1 of \(2, 3\)"),
    (lambda: F.pad(x23, (3, 1), "reflect"),               tg.ShapeError, r"pad: mode='reflect' can add at most 2 to dim 1 of shape \(2, 3\), got \(3, 1\)"),
    (lambda: F.pad(x23, (1, 4), "circular"),              tg.ShapeError, r"pad: mode='circular' can add at most 3 to dim 1"),
    (lambda: F.pad(x23[:, :0], (1, 0), "replicate"),      tg.ShapeError, r"pad: mode='replicate' can add nothing to dim 1 of shape \(2, 0\)"),
    (lambda: F.pad(x23, (1, 1, 1, 1), "reflect"),         tg.ShapeError, r"pad: mode='reflect' pads \(C, L\) with 2 numbers.* got 4 numbers for shape \(2, 3\)"),
    (lambda: F.pad(x23, (1, 1), "reflect", 2.0),          ValueError, r"pad: a value \(2\.0\) is only meant for mode='constant'"),
    (lambda: nn.ZeroPad2d((1, 2)),                        ValueError, r"ZeroPad2d: padding must be one whole number or \(left, right, top, bottom\), got \(1, 2\)"),
    (lambda: F.max_pool2d(x23, 2),                        tg.ShapeError, r"max_pool2d: an input of shape \(N, C, H, W\) or \(C, H, W\) is expected, got \(2, 3\)"),
    (lambda: F.max_pool1d([1.0], 2),                      TypeError,  r"max_pool1d: a tensor is expected, got list"),
    (lambda: F.max_pool1d(x23, 0),                        ValueError, r"max_pool1d: kernel_size must be one whole number, at least 1, got 0"),
    (lambda: F.max_pool1d(x23, 4),                        tg.ShapeError, r"max_pool1d: the window reaches over \[4\] pixels[\s\S]*input   \(2, 3\)[\s\S]*smaller kernel_size"),
    (lambda: F.avg_pool1d(x23, 2, padding=2),             ValueError, r"avg_pool1d: padding \[2\] is more than half of the window, kernel_size \[2\].*functional\.pad"),
    (lambda: F.max_pool1d(x23[:, :1], 2, 1, 1, 2),        ValueError, r"max_pool1d: some windows would see nothing[\s\S]*dilation \[2\]"),
    (lambda: F.avg_pool2d(x23[None], 1, divisor_override=0), ValueError, r"avg_pool2d: divisor_override must not be 0"),
    (lambda: F.max_unpool1d(x23, labels[None], 2),        tg.ShapeError, r"max_unpool1d: the values and their indices must have one shape[\s\S]*\(2, 3\)[\s\S]*\(1, 2\)"),
    (lambda: F.max_unpool1d(x23, (x23 + 7).long(), 2),    IndexError, r"max_unpool1d: indices from 7 to 7 are out of range for dim 1 of size 6"),
    (lambda: F.max_unpool1d(x23, x23, 2),                 TypeError,  r"max_unpool1d: the index must hold integers, got float32"),
    (lambda: F.max_unpool1d(x23, x23.long(), 2, output_size=()), tg.ShapeError, r"max_unpool1d: the result would have size \[\]; give output_size"),
    (lambda: F.adaptive_avg_pool1d(x23, 0),               tg.ShapeError, r"adaptive_avg_pool1d: 1 positive output sizes .* got 0 and an input of shape \(2, 3\)"),
    (lambda: F.adaptive_avg_pool1d(x23.long(), 1),        TypeError,  r"adaptive pooling: a floating-point input is expected, got int64"),
    (lambda: F.interpolate(x23, 4),                       tg.ShapeError, r"interpolate: an input of shape \(N, C, L\), .* got \(2, 3\)"),
    (lambda: F.interpolate(x23[None]),                    ValueError, r"interpolate: give either size or scale_factor"),
    (lambda: F.interpolate(x23[None], 4, 2.0),            ValueError, r"interpolate: give either size or scale_factor"),
    (lambda: F.interpolate(x23[None], scale_factor=-1),   ValueError, r"interpolate: scale_factor must be one positive number or 1, got -1"),
    (lambda: F.interpolate(x23[None], scale_factor=0.1),  tg.ShapeError, r"interpolate: sizes must be positive, got \[3\] -> \[0\]"),
    (lambda: F.interpolate(x23[None], 4, mode="bilinear"), ValueError, r"interpolate: mode must be one of 'nearest', .*'linear' for an input of shape \(1, 2, 3\), got 'bilinear'"),
    (lambda: F.interpolate(x23[None], 4, align_corners=True), ValueError, r"interpolate: align_corners is not meant for 'nearest', but for the linear and cubic modes"),
    (lambda: nn.Upsample(),                               ValueError, r"Upsample: give either size or scale_factor"),
    (lambda: F.pixel_shuffle(x23[None], 2),               tg.ShapeError, r"pixel_shuffle: the 1 channels of an input of shape \(1, 2, 3\) are not a multiple of 2² = 4; use 4 channels"),
    (lambda: F.pixel_shuffle(x23, 2),                     tg.ShapeError, r"pixel_shuffle: an input of shape \(\*, C, H, W\) is expected, got \(2, 3\)"),
    (lambda: F.pixel_unshuffle(x23[None], 2),             tg.ShapeError, r"pixel_unshuffle: height and width of an input of shape \(1, 2, 3\) are no multiples of 2"),
    (lambda: F.pixel_unshuffle(x23[None], 0.5),           ValueError, r"pixel_unshuffle: downscale_factor must be a positive whole number, got 0\.5"),
    (lambda: F.unfold(x23, 2),                            tg.ShapeError, r"unfold: an input of shape \(N, C, H, W\) or \(C, H, W\)"),
    (lambda: F.fold(x3, 4, 2),                            tg.ShapeError, r"fold: an input of shape \(N, C · kernel, windows\) is expected, got \(3,\)"),
    (lambda: F.fold(x23, 4, 2),                           tg.ShapeError, r"fold: an output of size \[4, 4\] has 9 windows \[3, 3\] of 4 taps; an input of shape \(N, C · 4, 9\) is expected, got \(2, 3\)"),
]
# fmt: on


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_wrong_calls(case):
    call, kind, message = WRONG[case]
    with pytest.raises(kind) as error:
        call()
    assert type(error.value) is kind
    assert re.search(message, str(error.value)), str(error.value)


@pytest.mark.parametrize("loss", SAME_SHAPE_LOSSES)
def test_input_and_target_of_different_shapes(loss):
    """(3, 1) against (3,) would broadcast to (3, 3): PyTorch warns, here it is an error."""
    with pytest.raises(
        tg.ShapeError, match=r"input and target must have the same shape\n    input  \(3, 1\)\n    target \(3,\)"
    ):
        loss(tg.full((3, 1), 0.5), tg.full((3,), 0.5))
