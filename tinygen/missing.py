"""What PyTorch has and tinygen has not: what to use instead, said where the name is looked for.

    tg.vmap           AttributeError: module 'tinygen' has no attribute 'vmap'; instead: operators broadcast over leading dimensions; ...
    nn.Lineer         AttributeError: module 'tinygen.nn' has no attribute 'Lineer'; did you mean Linear?

It is an AttributeError (for `from tinygen import vmap` an ImportError), so hasattr and getattr with a default work as ever.
"""

from __future__ import annotations

import difflib
import dis
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

ROOMS = (
    "tinygen",
    "tinygen.nn",
    "tinygen.nn.functional",
    "tinygen.optim",
    "tinygen.optim.lr_scheduler",
    "tinygen.optim.swa_utils",
    "tinygen.distributions",
    "tinygen.data",
)
"""Where a name that stands somewhere else is looked for."""

PARTS = (
    *("backends", "checkpoint", "cuda", "data", "distributions", "evaluate", "interchange", "linalg", "models", "plot"),
    *("testing", "training", "utils"),
)
"""Modules of tinygen that are imported when they are first used: tinygen.data."""

_DTYPE = "dtypes are NumPy's: tensor(values, dtype=tinygen.{})"
_LOOP = "a cell is a few lines of nn.Linear, sigmoid and tanh, called in a loop over the steps; it is not built in yet"
_ATTENTION = "softmax(q @ k.transpose(-2, -1) / d**0.5, -1) @ v; it is not built in yet"
_TRANSFORMS = (
    "a function of a sample, called in your Dataset's __getitem__; data.load resizes, turns grey, and scales to [0, 1]"
)
_COMPLEX = "tensors are real; keep real and imaginary parts as two"
_SPARSE = "all tensors are dense; index_add and scatter_add add at places"

INSTEAD: dict[str, dict[str, str]] = {
    "tinygen": {
        "jit": "tinygen.compile(step) records a training step and replays it",
        "hub": "tinygen.interchange.load_file reads weights in safetensors files",
        "fft": "numpy.fft on x.detach().numpy(), without a derivative",
        "stft": "numpy.fft on x.detach().numpy(), without a derivative",
        "amp": "everything is computed in the dtype of its inputs; x.half() and x.float() change it",
        "autocast": "everything is computed in the dtype of its inputs; x.half() and x.float() change it",
        "func": "autograd.grad with create_graph=True differentiates again; operators broadcast over leading dimensions",
        "vmap": "operators broadcast over leading dimensions; or stack the results of a loop",
        "onnx": "tinygen.interchange.save_file writes the weights for other programs",
        "export": "tinygen.interchange.save_file writes the weights for other programs",
        "fx": "autograd.trace(loss) and plot.graph(loss) show a graph",
        "multiprocessing": "one process; data.DataLoader(num_workers=) loads in threads",
        "distributed": "one device at a time; there is no training on several",
        "sparse": _SPARSE,
        "sparse_coo_tensor": _SPARSE,
        "sparse_csr_tensor": _SPARSE,
        "quantization": "float16, float32 and float64 are what there is",
        "ao": "float16, float32 and float64 are what there is",
        "bfloat16": "NumPy has no bfloat16; use float32 (interchange.load_file converts)",
        **dict.fromkeys(
            (
                *("complex64", "complex128", "cfloat", "cdouble", "complex", "polar", "angle", "real", "imag", "conj"),
                *("view_as_real", "view_as_complex"),
            ),
            _COMPLEX,
        ),
        "Variable": "tensors themselves: tinygen.tensor(values, requires_grad=True)",
        "set_default_tensor_type": "tinygen.set_default_dtype(dtype) and set_default_device(name)",
        "nested": "pad to one length, and keep a mask",
        "masked": "masked_fill and where",
        "hann_window": "tinygen.from_numpy(numpy.hanning(n))",
        "hamming_window": "tinygen.from_numpy(numpy.hamming(n))",
        "qr": "tinygen.linalg.qr",
        "svd": "tinygen.linalg.svd, which returns (U, S, Vh); torch.svd returns V",
        "cholesky": "tinygen.linalg.cholesky",
        "matrix_exp": "scipy.linalg.expm on x.detach().numpy(), without a derivative",
        "get_device": "x.device",
        "profiler": "autograd.trace(loss) shows the backward pass; cProfile measures",
        "FloatTensor": _DTYPE.format("float32"),
        "DoubleTensor": _DTYPE.format("float64"),
        "HalfTensor": _DTYPE.format("float16"),
        "LongTensor": _DTYPE.format("int64"),
        "IntTensor": _DTYPE.format("int32"),
        "BoolTensor": _DTYPE.format("bool"),
        "ByteTensor": _DTYPE.format("uint8"),
        "set_float32_matmul_precision": "tinygen.backend.allow_tf32()",
        "get_float32_matmul_precision": "tinygen.backend.allow_tf32()",
        "Storage": "x.array is the NumPy or CuPy array itself",
        "as_strided": "numpy.lib.stride_tricks on x.detach().numpy(); narrow, unfold and view make other views",
        "mps": "there is no Metal; device='cpu'",
        "xpu": "there is no such device; device='cpu' or 'cuda'",
        "compiler": "tinygen.compile(step)",
    },
    "tinygen.nn": {
        **dict.fromkeys(("LSTM", "LSTMCell", "GRU", "GRUCell", "RNN", "RNNCell"), _LOOP),
        "MultiheadAttention": _ATTENTION,
        **dict.fromkeys(
            (
                *("Transformer", "TransformerEncoder", "TransformerEncoderLayer"),
                *("TransformerDecoder", "TransformerDecoderLayer"),
            ),
            "its layers are LayerNorm, Linear, GELU and attention: " + _ATTENTION,
        ),
        "CTCLoss": "there is no alignment of sequences",
        "EmbeddingBag": "nn.Embedding(n, d)(index).mean(1)",
        "AlphaDropout": "nn.Dropout",
        "FeatureAlphaDropout": "nn.Dropout2d",
        **dict.fromkeys(
            ("LazyLinear", "LazyConv1d", "LazyConv2d", "LazyConv3d", "LazyBatchNorm1d", "LazyBatchNorm2d"),
            "say the sizes: run the layers before it once, and look at the shape",
        ),
        "DataParallel": "one device at a time; use the module itself",
        "SyncBatchNorm": "one device at a time; use nn.BatchNorm2d",
        "AdaptiveLogSoftmaxWithLoss": "nn.Linear and nn.CrossEntropyLoss",
        "FractionalMaxPool2d": "nn.MaxPool2d",
        "quantized": "float16, float32 and float64 are what there is",
        "qat": "float16, float32 and float64 are what there is",
        "MultiLabelMarginLoss": "nn.BCEWithLogitsLoss, one logit per label",
        "MultiMarginLoss": "nn.CrossEntropyLoss",
    },
    "tinygen.nn.functional": {
        "scaled_dot_product_attention": _ATTENTION,
        "multi_head_attention_forward": _ATTENTION,
        "ctc_loss": "there is no alignment of sequences",
        "embedding_bag": "embedding(index, weight).mean(1)",
        "alpha_dropout": "dropout",
        "upsample": "interpolate",
    },
    "tinygen.optim": {
        "SparseAdam": "Adam",
        "Adafactor": "AdamW",
        "Muon": "AdamW",
    },
    "tinygen.distributions": {
        **dict.fromkeys(
            ("Gamma", "Beta", "Dirichlet", "Chi2", "FisherSnedecor", "InverseGamma", "Kumaraswamy", "Weibull"),
            "LogNormal for positive numbers, a TransformedDistribution with SigmoidTransform for shares",
        ),
        **dict.fromkeys(("Cauchy", "HalfCauchy"), "StudentT(1.0, loc, scale)"),
        **dict.fromkeys(
            ("Binomial", "Multinomial", "NegativeBinomial", "Geometric"), "Independent(Bernoulli(p), 1), or Poisson"
        ),
        "VonMises": "Normal, where the circle hardly matters",
        "LowRankMultivariateNormal": "MultivariateNormal(loc, covariance_matrix)",
        "LogisticNormal": "TransformedDistribution(Normal(loc, scale), SigmoidTransform())",
        "ContinuousBernoulli": "RelaxedBernoulli",
        "LogitRelaxedBernoulli": "RelaxedBernoulli, whose base_dist it is",
        "ExpRelaxedCategorical": "RelaxedOneHotCategorical",
    },
    "tinygen.data": {
        "distributed": "one process",
        "DistributedSampler": "one process; use shuffle=True",
        "ImageFolder": "data.load('folder', size=32): subfolders are the classes",
        "DatasetFolder": "data.load('folder', size=32), or a Dataset of your own",
        "MNIST": "train, test = data.mnist()",
        "FashionMNIST": "train, test = data.fashion_mnist()",
        "USPS": "train, test = data.usps()",
        "CIFAR10": "data.load('file.npz') or data.load('folder'), with files of your own",
        "CelebA": "data.load('folder', size=64), with files of your own",
        "datasets": "data.mnist(), data.fashion_mnist(), ..., or data.load(source)",
        **dict.fromkeys(("transforms", "Compose", "ToTensor", "Normalize", "Resize", "RandomCrop"), _TRANSFORMS),
        "make_moons": "data.two_moons(n, noise)",
    },
    "tinygen.utils": {
        "tensorboard": "training.Keeper writes metrics.jsonl, which plot.curves and pandas read",
        "checkpoint": "autograd.checkpoint(function, ...)",
        "cpp_extension": "an operator is a forward function and its rules in Python: examples/write_your_own_op.py",
        "bottleneck": "cProfile",
        "benchmark": "timeit",
        "dlpack": "tinygen.from_dlpack(x)",
    },
    "tinygen.cuda": {
        "amp": "everything is computed in the dtype of its inputs; x.half() and x.float() change it",
        "Stream": "CuPy's own: cupy.cuda.Stream",
        "Event": "CuPy's own: cupy.cuda.Event",
        "max_memory_allocated": "cuda.memory_allocated(), which is what is in use now",
        "CUDAGraph": "tinygen.compile(step) captures one",
        "get_device_properties": "cuda.get_device_name() and get_device_capability(); the rest says cupy.cuda.runtime",
        "reset_peak_memory_stats": "cuda.memory_allocated(), which is what is in use now",
        "mem_get_info": "cupy.cuda.runtime.memGetInfo()",
        "current_stream": "CuPy's own: cupy.cuda.get_current_stream()",
        "stream": "CuPy's own: with cupy.cuda.Stream(): ...",
        "device": "CuPy's own: with cupy.cuda.Device(1): ...; or device='cuda:1' where a tensor is made",
        "get_rng_state": "tinygen.get_rng_state(), of all devices",
        "set_rng_state": "tinygen.set_rng_state(state), of all devices",
        "is_bf16_supported": "NumPy has no bfloat16",
    },
    "tinygen.autograd": {
        "Variable": "tensors themselves: tinygen.tensor(values, requires_grad=True)",
        "profiler": "autograd.trace(loss) shows the backward pass; cProfile measures",
        "forward_ad": "grad of grad: autograd.grad with create_graph=True",
    },
    "Tensor": {
        "type": "x.dtype, or x.to(dtype)",
        "data_ptr": "x.array.ctypes.data",
        "untyped_storage": "x.array is the NumPy or CuPy array itself",
        "storage": "x.array is the NumPy or CuPy array itself",
        "pin_memory": "leave it out: what a GPU copies from is not pinned here",
        "share_memory_": "leave it out: threads share memory",
        "astype": "x.to(dtype)",
        "copy": "x.clone()",
        "is_sparse": "all tensors are dense",
        "to_dense": "all tensors are dense",
        "bfloat16": "NumPy has no bfloat16; x.float()",
        "as_strided": "x.array is the NumPy array itself",
        "get_device": "x.device",
        "is_cpu": "x.device.type == 'cpu'",
        "volatile": "with tinygen.no_grad(): ...",
        **dict.fromkeys(("real", "imag", "angle", "conj", "cfloat"), _COMPLEX),
        **dict.fromkeys(("to_sparse", "coalesce", "indices", "values"), _SPARSE),
        "short": "x.to(tinygen.int16)",
        "char": "x.to(tinygen.int8)",
        "nbytes": "x.array.nbytes",
        "itemsize": "x.element_size()",
        "resize_": "x.reshape(...), a tensor of its own",
        "set_": "x.data = other",
        "random_": "tinygen.randint(low, high, x.shape)",
        "register_post_accumulate_grad_hook": "x.register_hook(hook), which is given the gradient",
        "sum_to_size": "x.sum(dim, keepdim=True)",
    },
}
"""Where a name is looked for -> the name -> what to use instead."""


def attribute_of(module: str) -> Callable[[str], Any]:
    """The `__getattr__` of a module: it is called with names that the module has not."""

    def __getattr__(name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        if module == "tinygen" and name in PARTS and importlib.util.find_spec(f"tinygen.{name}"):
            return importlib.import_module(f"tinygen.{name}")
        found = vars(sys.modules[module])
        text = explain(module, name, found.get("__all__") or [n for n in found if n[0] != "_"], elsewhere=True)
        frame = sys._getframe(1)
        if (
            dis.opname[frame.f_code.co_code[frame.f_lasti]] == "IMPORT_FROM"
        ):  # which would hide what an AttributeError says
            raise ImportError(text, name=module)
        raise AttributeError(text, name=name, obj=None)  # an obj would make Python add a suggestion of its own

    return __getattr__


class Missing:
    """Stands in a class for an attribute of PyTorch's that is not there: an AttributeError that says what to use instead.

    A `__getattr__` would do so too, and would make every attribute of every tensor slower to read: by a fifth of the time of
    the backward pass.  For misspelt names Python itself says what may have been meant.
    """

    def __init__(self, place: str, name: str):
        self._place, self._name = place, name

    def __get__(self, instance: Any, owner: type | None = None) -> NoReturn:
        raise AttributeError(explain(self._place, self._name, ()), name=self._name, obj=None)


def mark_missing(cls: type) -> None:
    """Put a `Missing` into a class for every name that the table has for it and the class has not."""
    for name in INSTEAD[cls.__name__]:
        if not hasattr(cls, name):
            setattr(cls, name, Missing(cls.__name__, name))


def without_missing(cls: type, names: Iterable[str]) -> list[str]:
    """What dir() shows."""
    missing = {name for c in cls.__mro__ for name, value in vars(c).items() if isinstance(value, Missing)}
    return [name for name in names if name not in missing]


def explain(place: str, name: str, names: Iterable[str], elsewhere: bool = False) -> str:
    """The message: what to use instead, where the name stands, or which name was meant."""
    head = f"module {place!r} has no attribute {name!r}" if elsewhere else f"{place!r} object has no attribute {name!r}"
    if instead := INSTEAD.get(place, {}).get(name):
        return f"{head}; instead: {instead}"
    if elsewhere:
        rooms = [room for room in ROOMS if room != place and name in getattr(sys.modules.get(room), "__all__", ())]
        if rooms:
            return f"{head}; it is {' and '.join(f'{room}.{name}' for room in rooms)}"
    lower = {n.lower(): n for n in names}
    meant = difflib.get_close_matches(name.lower(), lower, 3, 0.75)
    return f"{head}; did you mean {' or '.join(lower[n] for n in meant)}?" if meant else head
