"""PyTorch's address of some of our rooms: `from tinygen.utils.data import DataLoader, Dataset`."""
