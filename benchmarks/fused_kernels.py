"""Every fused function of tinygen as the CUDA kernel that CuPy makes of it: traced, and compiled.  No GPU is needed.

    python benchmarks/fused_kernels.py             a line per kernel
    python benchmarks/fused_kernels.py adam        with the source of those whose name contains "adam"

Needs CuPy (pip install cupy-cuda12x nvidia-cuda-nvrtc-cu12 nvidia-cuda-runtime-cu12).  The functions are called on the strict
double first, which shows with what kinds of arguments; then CuPy's own tracer runs them with stand-ins of these kinds, and
NVIDIA's compiler compiles what comes out.  Checked: each traces, compiles, and computes float32 arrays in float32 alone (a
number is handed over in double precision, and rounded before it is used).  Not checked: that it computes the right values.

It leans on CuPy's private functions, and was written for CuPy 14.2.
"""

from __future__ import annotations

import os
import re
import sys
from functools import partial
from typing import Any

import cupy
import numpy as np
from cupy._core import _kernel, fusion
from cupy_backends.cuda.libs import nvrtc

import tinygen as tg
from tinygen.backend import registry
from tinygen.backend.cupy_backend import CupyBackend
from tinygen.engine import OPERATORS
from tinygen.nn import functional as F
from tinygen.nn.flows import AffineCoupling
from tinygen.ops import loss
from tinygen.ops.fused import Fused
from tinygen.testing.strict import StrictBackend, StrictModule

ARCHITECTURE = "compute_80"
INCLUDE = os.path.join(os.path.dirname(cupy.__file__), "_core", "include")
HEADERS = ("complex.cuh", "carray.cuh", "atomics.cuh", "math_constants.h")

calls: dict[Any, tuple[Any, str, tuple]] = {}
"""{what distinguishes a kernel: (function, name, kinds of the arguments)}"""


def main(wanted: str) -> None:
    watch()
    use_everything()
    missing = {op.name for op in OPERATORS.values() if isinstance(op, Fused)} - {
        name.removeprefix("tinygen_").removesuffix("_rule") for _, name, _ in calls.values()
    }
    print(f"CuPy {cupy.__version__}, {len(calls)} kernels, compiled for {ARCHITECTURE}\n")
    print(
        "f2: a float32 matrix, f1: a vector, f4: images, f0: one element, ?: truth values, x: a number, -: not read\n"
    )
    print(f"{'kernel':<34}{'arguments':<40}{'steps':>6}  dtypes of the steps   machine code")
    wrong = 0
    for function, name, kinds in calls.values():
        history, source = trace(function, name, kinds)
        dtypes = {d.name for op in history.op_list for d in op.dtypes}
        size = compile_kernel(source)
        good = dtypes <= {"float32", "bool"}
        wrong += not good
        print(
            f"{name:<34}{' '.join(map(shown, kinds)):<40}{len(history.op_list):>6}  "
            f"{' '.join(sorted(dtypes)):<20}{size:>7} bytes{'' if good else '   NOT float32 alone'}"
        )
        if wanted and wanted in name:
            print(source)
    print(f"\n{wrong} that compute in another precision; operators without a kernel here: {sorted(missing) or 'none'}")
    sys.exit(bool(wrong or missing))


def shown(kind: Any) -> str:
    return f"{kind[0]}{kind[1]}" if isinstance(kind, tuple) else "-" if kind is None else "x"


def watch() -> None:
    """Note every function that the strict double is given to fuse, when it is called."""
    own = StrictBackend.fuse

    def fuse(self: StrictBackend, function: Any, name: str) -> Any:
        kernel = own(self, function, name)

        def noted(*args: Any) -> Any:
            kinds = tuple((x.dtype.char, x.ndim) if hasattr(x, "dtype") else None if x is None else 0.5 for x in args)
            calls.setdefault((name, kinds, str(function)), (function, name, kinds))
            return kernel(*args)

        return noted

    StrictBackend.fuse = fuse  # type: ignore[method-assign]


def use_everything() -> None:
    """A call of every fused function, with its rules."""
    device = "strict"
    x, y = (tg.rand(4, 3, device=device) for _ in range(2))
    x.requires_grad_()
    y.requires_grad_()
    losses = (loss.squared_error, loss.squared_distance, loss.bernoulli_nll, loss.bernoulli_nll_of_logits)
    values = [f(x, y) for f in losses] + [
        loss.huber(x, y, delta=0.3),
        loss.negentropy(x),
        loss.log_at_least(x, low=-100.0),
    ]
    values += [f(x) for f in (tg.tanh, tg.sigmoid, tg.relu, F.softplus, F.elu, F.logsigmoid, F.gelu)]
    values += [F.elu(x, 0.5), F.leaky_relu(x, 0.2)]
    images, weight, bias = tg.rand(4, 2, 3, 3, device=device), tg.ones(2, device=device), tg.zeros(2, device=device)
    weight.requires_grad_()
    images.requires_grad_()
    values += [F.batch_norm(images, None, None, weight, bias.requires_grad_(), training=True), F.layer_norm(x, (3,))]
    values += [F.batch_norm(images, bias.detach(), weight.detach(), weight, bias)]
    net = tg.nn.Linear(3, 3)
    values += list(AffineCoupling(tg.tensor([1, 0, 1]), net, tg.nn.Linear(3, 3)).to(device)(x))
    total = values[0].sum()
    for value in values[1:]:
        total = total + value.sum()
    total.backward()
    tg.nn.utils.clip_grad_norm_([x, y], 1.0)
    (g,) = tg.grad(F.leaky_relu(x, 0.2).sum(), x, create_graph=True)  # the rule of a rule
    (g * x).sum().backward()
    for kind, settings in (
        (
            tg.optim.SGD,
            ({}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"weight_decay": 0.1, "maximize": True}),
        ),
        (tg.optim.Adam, ({}, {"weight_decay": 0.1})),
        (tg.optim.AdamW, ({},)),
        (tg.optim.RMSprop, ({}, {"momentum": 0.9, "centered": True})),
        (tg.optim.Adagrad, ({},)),
    ):
        for options in settings:
            x.grad = tg.ones(4, 3, device=device)
            kind([x], lr=0.1, **options).step()


def trace(function: Any, name: str, kinds: tuple) -> tuple[Any, str]:
    """CuPy's own tracing of the function; the kernel's source."""
    for stand_in in CupyBackend.tracing_types:
        registry.ARRAY_MODULES[stand_in] = cupy
        registry._BY_ARRAY[stand_in] = object.__new__(CupyBackend)
    if isinstance(function, partial):
        args = [cupy if isinstance(a, StrictModule) else a for a in function.args]
        function = partial(function.func, *args, **function.keywords)
    history = fusion._FusionHistory()
    history.ndim = max(kind[1] for kind in kinds if isinstance(kind, tuple))
    params, stand_ins = [], []
    for kind in kinds:
        if kind is None:
            stand_ins.append(None)
            continue
        is_array = isinstance(kind, tuple)
        params.append(history._fresh_premap_param(np.dtype(kind[0] if is_array else float)))
        stand_ins.append(
            fusion._FusionVarArray(params[-1], kind[1], False)
            if is_array
            else fusion._FusionVarScalar(params[-1], -1, False, float)
        )
    fusion._thread_local.history, fusion._thread_local.is_old_fusing = history, True
    try:
        returned = function(*stand_ins)
    finally:
        fusion._thread_local.history, fusion._thread_local.is_old_fusing = None, False
    returned = [] if returned is None else [returned]
    outs = [history._fresh_premap_param(r.dtype) for r in returned]
    operation = history._emit_operation_code() + "".join(f"{o} = {r._var};" for o, r in zip(outs, returned))
    kernel = _kernel.ElementwiseKernel(
        ", ".join(v.declaration_in_param() for v in params),
        ", ".join(v.declaration_out_param() for v in outs),
        operation,
        preamble=history._emit_submodules_code(),
        name=name,
    )
    ndims = [kind for kind in kinds if kind is not None] + [("", history.ndim)] * len(outs)
    infos = [
        _kernel._ArgInfo(1, cupy.ndarray, v.dtype, history.ndim, True, True)  # all are broadcast
        if isinstance(kind, tuple)
        else _kernel._ArgInfo(3, float, v.dtype, 0, True, True)
        for v, kind in zip([*params, *outs], ndims)
    ]
    infos.append(_kernel._ArgInfo(2, object, None, history.ndim, True, True))
    source = _kernel._get_elementwise_kernel_code(
        tuple(infos), _kernel._TypeMap(()), kernel.params, operation, name, kernel.preamble
    )
    return history, source


def compile_kernel(source: str) -> int:
    """Bytes of PTX."""
    program = nvrtc.createProgram("".join(f"#include <cupy/{h}>\n" for h in HEADERS) + source, "kernel.cu", [], [])
    cccl = [f"-I{INCLUDE}/cupy/_cccl/{part}" for part in ("libcudacxx", "cub", "thrust")]
    toolkit = [f"-I{os.path.join(p, 'nvidia', 'cuda_runtime', 'include')}" for p in sys.path if "site-packages" in p]
    try:
        nvrtc.compileProgram(program, [f"-arch={ARCHITECTURE}", f"-I{INCLUDE}", *cccl, *toolkit, "-std=c++17"])
    except nvrtc.NVRTCError:
        raise SystemExit(re.sub(r"(?m)^", "    ", nvrtc.getProgramLog(program)) + "\n" + source) from None
    return len(nvrtc.getPTX(program))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
