# ruff: noqa
# E6, E7, E8: a RealNVP on two moons.
import math

import torch
from torch import nn, optim

torch.manual_seed(0)


class NVPCouplingLayer(nn.Module):
    def __init__(self, map_s, map_t, b):
        super(NVPCouplingLayer, self).__init__()
        self.map_s = map_s
        self.map_t = map_t
        self.b = b.clone().unsqueeze(0)

    def forward(self, x_and_logdetjac):
        x, logdetjac = x_and_logdetjac
        s, t = self.map_s(self.b * x), self.map_t(self.b * x)
        y = self.b * x + (1 - self.b) * (torch.exp(s) * x + t)
        return (y, logdetjac + ((1 - self.b) * s).sum(1))

    def invert(self, y):
        s, t = self.map_s(self.b * y), self.map_t(self.b * y)
        return self.b * y + (1 - self.b) * (torch.exp(-s) * (y - t))


class NVPNet(nn.Module):
    def __init__(self, dim, hdim, depth):
        super(NVPNet, self).__init__()
        b = torch.empty(dim)
        self.layers = nn.ModuleList()
        for d in range(depth):
            if d % 2 == 0:
                i = torch.randperm(b.numel())[0 : b.numel() // 2]
                b.zero_()[i] = 1
            else:
                b = 1 - b
            map_s = nn.Sequential(nn.Linear(dim, hdim), nn.Tanh(), nn.Linear(hdim, dim))
            map_t = nn.Sequential(nn.Linear(dim, hdim), nn.Tanh(), nn.Linear(hdim, dim))
            self.layers.append(NVPCouplingLayer(map_s, map_t, b))

    def forward(self, x):
        logdetjac = x.new_zeros(x.size(0))
        for m in self.layers:
            x, logdetjac = m((x, logdetjac))
        return x, logdetjac

    def invert(self, y):
        for m in reversed(self.layers):
            y = m.invert(y)
        return y


def LogProba(x_and_logdetjac):
    x, logdetjac = x_and_logdetjac
    return logdetjac - 0.5 * (x.pow(2).sum(1) + x.size(1) * math.log(2 * math.pi))


nb = 1000
angle = torch.rand(nb) * math.pi
moon = (torch.rand(nb) < 0.5).float()
train_input = torch.stack((angle.cos() * (1 - 2 * moon) + moon, angle.sin() * (1 - 2 * moon) + 0.5 * moon), 1)
train_input = train_input + torch.randn(nb, 2) * 0.1

batch_size = 100
model = NVPNet(dim=2, hdim=2, depth=4)
optimizer = optim.Adam(model.parameters(), lr=1e-2)
losses = []

for e in range(5):
    for input in train_input.split(batch_size):
        output = model(input)
        loss = -LogProba(output).mean()
        model.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

z = torch.empty(100, 2).normal_()
with torch.no_grad():
    x = model.invert(z)
    again, logdet = model(x)
