# ruff: noqa
# E5: the Jacobian of an affine coupling is triangular.
import torch
from torch import nn

torch.manual_seed(0)
dim = 6
b = torch.empty(dim).fill_(0.0)
b[: dim // 2] = 1.0

s = nn.Sequential(nn.Linear(dim, dim), nn.Tanh())
t = nn.Sequential(nn.Linear(dim, dim), nn.Tanh())


def coupling(x):
    return b * x + (1 - b) * (x * torch.exp(s(b * x)) + t(b * x))


x = torch.randn(dim).requires_grad_()
y = coupling(x)

J = torch.empty(dim, dim)
for i in range(dim):
    J[i] = torch.autograd.grad(y[i], x, retain_graph=True)[0]

scale = torch.exp(s(b * x)).detach()
text = str(J)
