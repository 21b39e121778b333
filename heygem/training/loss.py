"""Loss of the lips model.

The error of coefficients and of their velocity, each weighted by its share of the motion (L1:
mouths have outliers, and a squared error reduces the amplitude); and one minus the correlation of
the curves of lip aperture and mouth width within a window, whatever their amplitude, because
viewers judge a mouth by whether it opens when the real one does.
"""

import torch
from torch import Tensor

WIDTH_WEIGHT = 0.5  # of the width's correlation, relative to the aperture's
MIN_STD = 0.22  # of a window's real curve over the typical one; flatter ones have no correlation


def motion_loss(
    predicted: Tensor,
    target: Tensor,
    valid: Tensor,
    *,
    weights: Tensor,
    measures: Tensor,
    correlation_weight: float,
) -> Tensor:
    """Loss of a batch.

    Parameters
    ----------
    predicted, target : float [B, N, K]
    valid : bool [B, N]
    weights : float [K]
        Weight of each coefficient.
    measures : float [K, 2]
        Coefficients to aperture and width, each in units of its typical standard deviation.
    correlation_weight : float
        0: the correlation is not part of the loss.

    Returns
    -------
    float []
    """
    mask = valid[..., None].float()
    error = ((predicted - target).abs() * weights * mask).mean()
    velocity_error = (predicted.diff(dim=1) - target.diff(dim=1)).abs() * weights
    loss = error + (velocity_error * mask[:, 1:]).mean()
    if correlation_weight:
        aperture, width = correlation_loss(predicted @ measures, target @ measures, valid)
        loss = loss + correlation_weight * (aperture + WIDTH_WEIGHT * width)
    return loss


def correlation_loss(predicted: Tensor, real: Tensor, valid: Tensor) -> Tensor:
    """One minus Pearson's correlation within a window, averaged over windows.

    Parameters
    ----------
    predicted, real : float [B, N, M]
    valid : bool [B, N]

    Returns
    -------
    float [M]
        0..2; windows whose real curve is flat (`MIN_STD`) do not count.
    """
    mask = valid[..., None].float()
    count = mask.sum(1, keepdim=True).clamp(min=1)
    predicted = (predicted - (predicted * mask).sum(1, keepdim=True) / count) * mask
    real = (real - (real * mask).sum(1, keepdim=True) / count) * mask
    power = real.square().sum(1)
    scale: Tensor = torch.sqrt(predicted.square().sum(1) * power + 1e-6)
    correlation = (predicted * real).sum(1) / scale
    counted = (power > MIN_STD**2 * count[:, 0]).float()
    return ((1 - correlation) * counted).sum(0) / counted.sum(0).clamp(min=1)
