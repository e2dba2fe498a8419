# ruff: noqa
# A5: a non-linear autoencoder.  Given: train_input, images in rows, between 0 and 1.
import torch
from torch import nn, optim
from torch.nn import functional as F


class AutoEncoder(nn.Module):
    def __init__(self, n_inputs, n_hidden):
        super(AutoEncoder, self).__init__()
        self.enc1 = nn.Linear(n_inputs, 256)
        self.enc2 = nn.Linear(256, n_hidden)
        self.dec1 = nn.Linear(n_hidden, 256)
        self.dec2 = nn.Linear(256, n_inputs)

    def forward(self, x):
        hidden = F.relu(self.enc2(F.relu(self.enc1(x))))
        output = torch.sigmoid(self.dec2(F.relu(self.dec1(hidden))))
        return hidden, output


torch.manual_seed(0)
model = AutoEncoder(train_input.size(1), 10)
optimizer = optim.Adam(model.parameters(), lr=1e-3)
criterion = nn.MSELoss(reduction="sum")
batch_size = 100
losses = []

for epoch in range(3):
    total = 0
    for b in range(0, train_input.size(0), batch_size):
        batch = train_input[b : b + batch_size].view(-1, train_input.size(1))
        optimizer.zero_grad()
        hidden, output = model(batch)
        loss = criterion(output, batch)
        loss.backward()
        optimizer.step()
        total += loss.item()
    losses.append(total / train_input.size(0))
