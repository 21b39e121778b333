"""The network that turns what is heard into mouth coefficients.

A dilated convolutional one (temporal convolutional network, Bai et al. 2018): whatever the length,
every instant is answered from the same half second around it.
"""

from torch import nn

from heygem.lips.features import FEATURE_DIM, normalize_spectra


class _Block(nn.Module):
    def __init__(self, width, dilation, dropout):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.spread = nn.Conv1d(width, width, 5, padding=2 * dilation, dilation=dilation)
        self.mix = nn.Conv1d(width, width, 1)
        self.drop = nn.Dropout(dropout)

    def forward(self, x):  # [B, width, T]
        # Normalised within each instant, so that a chunk gives what the whole would.
        y = self.norm(x.transpose(1, 2)).transpose(1, 2)
        return x + self.drop(self.mix(nn.functional.gelu(self.spread(y))))


class LipsNetwork(nn.Module):
    """`features` at 100 Hz to mouth coefficients at 50 Hz.

    Parameters
    ----------
    outputs : int
        Coefficients, K.
    inputs : int
        Numbers heard every 10 ms.
    width : int
        Channels.
    dilations : sequence of int
        One residual block each; reach is 40 ms times their sum, plus 50 ms, to both sides.
    level : bool
        Whether spectra go through `level` first.
    dropout : float
    """

    def __init__(self, *, outputs, width, dilations, inputs=FEATURE_DIM, level=True, dropout=0.0):
        super().__init__()
        self.level = level
        self.read = nn.Sequential(
            nn.Conv1d(inputs, width, 5, padding=2),
            nn.GELU(),
            nn.Conv1d(width, width, 5, stride=2, padding=2),
        )
        self.blocks = nn.Sequential(*[_Block(width, d, dropout) for d in dilations])
        self.say = nn.Conv1d(width, outputs, 3, padding=1)

    @property
    def shape(self):
        """What another one like it is made with : dict."""
        return {
            "outputs": self.say.out_channels,
            "width": self.say.in_channels,
            "dilations": [block.spread.dilation[0] for block in self.blocks],
            "inputs": self.read[0].in_channels,
            "level": self.level,
        }

    def forward(self, heard):
        """`float [B, 2 N, inputs]` to `float [B, N, K]`."""
        return self.answer(normalize_spectra(heard) if self.level else heard)

    def answer(self, heard):
        """The same for what `level` made of it; a piece may be given with the whole's level."""
        x = self.read(heard.transpose(1, 2))  # [B, width, N]
        return self.say(self.blocks(x)).transpose(1, 2)
