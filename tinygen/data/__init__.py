"""Data: real images with fixed splits, two-dimensional densities known exactly, corruption, batches.

    train, test = data.digits()                                # embedded: no download
    train, test = data.load("my_photos/", size=32)             # a folder of pictures, or an .npz or .npy file
    for (x,) in data.DataLoader(data.TensorDataset(train.flat), batch_size=100, shuffle=True):
        ...

Read `images` for the data sets, `loading` for all of them and your own under one name, `toys` for the densities, `dataset`
for the batching, `corrupt` for denoising, `binarize` for the four ways to make pixels binary; `sources` finds, downloads and
verifies files; `idx` (MNIST's format), `files` (NumPy's) and `folder` (pictures) read them, and trust none.
"""

from tinygen.data import binarize
from tinygen.data.binarize import DynamicBinarization
from tinygen.data.corrupt import gaussian_noise, masking_noise, salt_and_pepper
from tinygen.data.dataset import DataLoader, Dataset, TensorDataset
from tinygen.data.files import DataError, read_npy, read_npz
from tinygen.data.idx import read_idx
from tinygen.data.images import binarized_mnist, digits, fashion_mnist, frey_faces, mnist, olivetti_faces, usps
from tinygen.data.loading import SETS, grey_levels, load
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

__all__ = [
    # images
    "load",
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
    "Dataset",
    "TensorDataset",
    "DataLoader",
    # corruption
    "masking_noise",
    "gaussian_noise",
    "salt_and_pepper",
    # binary pixels
    "binarize",
    "DynamicBinarization",
    # files
    "DataError",
    "read_idx",
    "read_npy",
    "read_npz",
]
