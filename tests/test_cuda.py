"""PyTorch's questions about GPUs have honest answers, with one and without."""

import numpy as np
import pytest

import tinygen as tg
from tinygen import cuda

here = cuda.is_available()


def test_the_answers_agree():
    assert here == tg.cuda_available() == (cuda.device_count() > 0)
    if here:
        assert 0 <= cuda.current_device() < cuda.device_count() and cuda.get_device_name()
        assert cuda.get_device_capability() >= (5, 0)
        before = cuda.memory_allocated()
        x = tg.ones(2**20, device="cuda")
        cuda.synchronize()
        assert cuda.memory_allocated() >= before + 2**22 and cuda.memory_reserved() >= cuda.memory_allocated()
        del x
        cuda.empty_cache()
        assert cuda.memory_allocated() == before
        cuda.set_device(cuda.current_device())
        return
    assert cuda.memory_allocated() == cuda.memory_reserved() == 0
    for question in (cuda.current_device, cuda.get_device_name, cuda.get_device_capability, lambda: cuda.set_device(0)):
        with pytest.raises(RuntimeError, match="device 'cuda'"):
            question()
    cuda.synchronize(), cuda.empty_cache()


def test_seeds():
    tg.manual_seed(1)
    first = tg.rand(3)
    tg.manual_seed(1)
    cuda.manual_seed(5), cuda.manual_seed_all(5)  # not the CPU's
    assert (tg.rand(3) == first).all()
    if here:
        draws = []
        for seed in (cuda.manual_seed, cuda.manual_seed_all):
            seed(5)
            draws.append(tg.rand(3, device="cuda").tolist())
        assert draws[0] == draws[1]


def test_a_device_that_is_none():
    with pytest.raises(ValueError, match="a GPU is expected, by its number or as 'cuda:1', got 'cpu'"):
        cuda.get_device_name("cpu")


def test_the_usual_first_lines_run():
    import tinygen.backends.cudnn as cudnn

    cudnn.benchmark, cudnn.deterministic = True, True
    cudnn.benchmark, cudnn.deterministic = False, False
    device = tg.device("cuda" if cuda.is_available() else "mps" if tg.backends.mps.is_available() else "cpu")
    assert device.type == ("cuda" if here else "cpu") and not cudnn.is_available()
    assert tg.zeros(2, device=device).cpu().numpy().dtype == np.float32
