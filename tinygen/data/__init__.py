"""Data: real images with fixed splits, two-dimensional densities known exactly, corruption, batches.

    train, test = data.digits()                                # embedded: no download
    train, test = data.load("my_photos/", size=32)             # a folder of pictures, or an .npz or .npy file
    for (x,) in data.DataLoader(data.TensorDataset(train.flat), batch_size=100, shuffle=True):
        ...

Your own data: a subclass of Dataset with `__len__` and `__getitem__`, the sample of one number, as in PyTorch.

Read `images` for the data sets, `loading` for all of them and your own under one name, `toys` for the densities; `dataset`,
`sampler`, `collate`, `epoch` and `loader` (in this order) for the batching, `workers` for the threads that load ahead; `corrupt` for denoising, `binarize` for the four ways to make pixels binary; `sources` finds, downloads and
verifies files; `idx` (MNIST's format), `files` (NumPy's), `points` (tables), `folder` and `decode` (pictures)
read them, and trust none; `checksums` says which data they are.
"""

import typing as _typing

from tinygen import missing as _missing
from tinygen.data import binarize
from tinygen.data.binarize import DynamicBinarization
from tinygen.data.checksums import checksum
from tinygen.data.collate import default_collate, default_convert
from tinygen.data.corrupt import gaussian_noise, masking_noise, salt_and_pepper
from tinygen.data.dataset import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from tinygen.data.files import DataError, read_npy, read_npz
from tinygen.data.idx import read_idx
from tinygen.data.image_dataset import ImageDataset
from tinygen.data.images import binarized_mnist, digits, fashion_mnist, frey_faces, mnist, olivetti_faces, usps
from tinygen.data.loader import DataLoader
from tinygen.data.loading import SETS, grey_levels, load
from tinygen.data.pixels import StoredImages
from tinygen.data.points import load_points, read_csv
from tinygen.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from tinygen.data.standardizer import Standardizer
from tinygen.data.toys import (
    gaussian_mixture,
    gaussian_mixture_log_prob,
    grid,
    grid_means,
    ring,
    ring_means,
    rings,
    two_moons,
    two_moons_entropy,
    two_moons_log_prob,
)
from tinygen.data.workers import WorkerInfo, get_worker_info

__all__ = [
    # images
    "load",
    "load_points",
    "SETS",
    "grey_levels",
    "digits",
    "mnist",
    "fashion_mnist",
    "usps",
    "frey_faces",
    "olivetti_faces",
    "binarized_mnist",
    # densities in the plane
    "two_moons",
    "two_moons_log_prob",
    "two_moons_entropy",
    "gaussian_mixture",
    "gaussian_mixture_log_prob",
    "grid",
    "grid_means",
    "ring",
    "ring_means",
    "rings",
    # batches
    "DataLoader",
    "Dataset",
    "ImageDataset",
    "StoredImages",
    "TensorDataset",
    "Subset",
    "random_split",
    "ConcatDataset",
    "StackDataset",
    "IterableDataset",
    "ChainDataset",
    "Sampler",
    "SequentialSampler",
    "RandomSampler",
    "SubsetRandomSampler",
    "WeightedRandomSampler",
    "BatchSampler",
    "default_collate",
    "default_convert",
    "get_worker_info",
    "WorkerInfo",
    # tables
    "Standardizer",
    # corruption
    "masking_noise",
    "gaussian_noise",
    "salt_and_pepper",
    # binary pixels
    "binarize",
    "DynamicBinarization",
    # files
    "checksum",
    "DataError",
    "read_csv",
    "read_idx",
    "read_npy",
    "read_npz",
]

if not _typing.TYPE_CHECKING:
    __getattr__ = _missing.attribute_of(__name__)
