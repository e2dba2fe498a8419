# ruff: noqa
# B6: a convolution shows the kernel where it meets a 1, backwards; its transpose puts it there.
import torch
from torch import nn
from torch.nn import functional as F

x = torch.tensor([[[0.0, 0, 1, 0, 0, 0, 0]]])
k = torch.tensor([[[1.0, 2, 3]]])
conv = F.conv1d(x, k)
transposed = F.conv_transpose1d(x, k)

# B7: the same as a layer.
x = torch.tensor([[[2.0, 3, 0, -1]]])
m = nn.ConvTranspose1d(1, 1, kernel_size=3)
m.bias.data.zero_()
m.weight.data.copy_(torch.tensor([1, 2, -1]))
y = m(x)
