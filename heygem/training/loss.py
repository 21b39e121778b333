"""What a network is told off for.

Coefficients and their speed, each by its share in the picture (L1: mouths have outliers, and a
squared error makes them mumble); and, because a mouth is judged by whether it opens when the real
one does, how little the curves of the lips' gap and of the mouth's width go together within a
window, whatever their size.
"""

WIDTH_SHARE = 0.5  # of the gap's
LEAST_SPREAD = 0.22  # of a window's real curve over the typical one; flatter ones have no shape


def motion_loss(said, wanted, valid, *, weights, measures, likeness):
    """Loss of a batch.

    Parameters
    ----------
    said, wanted : float [B, N, K]
    valid : bool [B, N]
    weights : float [K]
        How much each coefficient matters.
    measures : float [K, 2]
        Coefficients to gap and width, each in its own typical spread.
    likeness : float
        Weight of the curves' correlation; 0: not asked for.

    Returns
    -------
    float []
    """
    there = valid[..., None].float()
    error = ((said - wanted).abs() * weights * there).mean()
    speed = (said.diff(dim=1) - wanted.diff(dim=1)).abs() * weights
    loss = error + (speed * there[:, 1:]).mean()
    if likeness:
        gap, width = correlation_loss(said @ measures, wanted @ measures, valid)
        loss = loss + likeness * (gap + WIDTH_SHARE * width)
    return loss


def correlation_loss(said, real, valid):
    """One minus Pearson's correlation within a window, mean over windows.

    Parameters
    ----------
    said, real : float [B, N, M]
    valid : bool [B, N]

    Returns
    -------
    float [M]
        0..2; windows whose real curve is flat do not count.
    """
    there = valid[..., None].float()
    count = there.sum(1, keepdim=True).clamp(min=1)
    said = (said - (said * there).sum(1, keepdim=True) / count) * there
    real = (real - (real * there).sum(1, keepdim=True) / count) * there
    power = real.square().sum(1)
    together = (said * real).sum(1) / (said.square().sum(1) * power + 1e-6).sqrt()
    shaped = (power > LEAST_SPREAD**2 * count[:, 0]).float()
    return ((1 - together) * shaped).sum(0) / shaped.sum(0).clamp(min=1)
