"""torch.backends.cudnn: tinygen does not use cuDNN.  The settings may be made, and change nothing."""

enabled: bool = False
benchmark: bool = False
deterministic: bool = False
allow_tf32: bool = False


def is_available() -> bool:
    """False: convolutions are tinygen's own."""
    return False


def version() -> None:
    """None, as PyTorch says without cuDNN."""
    return None
