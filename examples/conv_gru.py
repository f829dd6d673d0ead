"""A model of your own: a convolution over time in front of a GRU.

    rnnjob submit --dataset mnist-sample --model examples/conv_gru.py:ConvGru \
        --set model.init_args.hidden=64

B rows, T time steps, F features, H hidden, K outputs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvGru(nn.Module):
    """From sequences (B, T, F) of any length to outputs (B, K)."""

    def __init__(
        self, num_features: int, num_outputs: int, hidden: int = 64, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(num_features, hidden, kernel_size=5, padding=2)
        self.norm = nn.LayerNorm(hidden)
        self.dropout = nn.Dropout(dropout)
        self.gru = nn.GRU(hidden, hidden, batch_first=True)
        self.head = nn.Linear(hidden, num_outputs)

    def forward(self, x_BTF: Tensor, lengths_B: Tensor) -> Tensor:
        # The input is zero behind a row's end, as a convolution takes it to be at the edges.
        h_BTH = self.convolution(x_BTF.transpose(1, 2)).transpose(1, 2)
        h_BTH = self.dropout(F.relu(self.norm(h_BTH)))
        h_BTH, _ = self.gru(h_BTH)
        # A GRU reads from left to right, so padding changes nothing up to a row's last step.
        last_B1H = (lengths_B - 1).view(-1, 1, 1).expand(-1, 1, h_BTH.shape[2])
        outputs_BK: Tensor = self.head(torch.gather(h_BTH, 1, last_B1H).squeeze(1))
        return outputs_BK
