"""Projection from the states of the speech encoder to the speech embedding.

The lips model would overfit to the 512 numbers of a state. Reduced-rank ridge regression (Izenman
1975) finds the directions that matter: states predict the mouth around their moment, and of what is
predicted, the directions with most variance are the embedding.

    python -m heygem.training.projection DATASET --licences cc-by --out projection.safetensors
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from heygem import audio
from heygem.audio.embedding import (
    EMBEDDING_DIM,
    PROJECTIONS,
    ROW_FRAMES,
    SILENCE_ROWS,
    encoder_states,
    projection_of,
)
from heygem.audio.features import HOP
from heygem.core import files
from heygem.core.types import FloatArray, PathLike
from heygem.training import coefficients, dataset
from heygem.training.clip import Clip
from heygem.training.windows import fit_basis

OFFSETS = tuple(range(-12, 13, 2))  # rows of 20 ms at which the mouth is predicted
MOUTH_COEFFICIENTS = 8
PENALTY = 1.0  # of the ridge, in shares of the states' mean weighted square


def fit_projection(
    states: Sequence[FloatArray], clips: Sequence[Clip], mouth: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Fit a projection.

    A clip's lag of some frames hardly matters, since the mouth is predicted a quarter of a second
    before and after each state.

    Parameters
    ----------
    states : sequence of float [N, S]
        Of each clip, at 50 Hz.
    clips : sequence of Clip
        Speakers are weighted by one over the root of their seconds.
    mouth : float [len(LOWER) * 3, K]
        From displacements to coefficients, see `heygem.training.coefficients.projection`.

    Returns
    -------
    weight : float32 [EMBEDDING_DIM, S]
    bias : float32 [EMBEDDING_DIM]
        Each direction has mean 0 and spread 1 over the clips.
    """
    valid = np.concatenate([state[clip.valid] for state, clip in zip(states, clips, strict=True)])
    mean, spread = valid.mean(0), valid.std(0) + 1e-6
    seconds: dict[str, float] = defaultdict(float)
    for clip in clips:
        seconds[clip.source.speaker] += clip.duration_s
    size = len(mean)
    square, product = np.zeros((size, size)), np.zeros((size, mouth.shape[1] * len(OFFSETS)))
    for state, clip in zip(states, clips, strict=True):
        weight = 1 / np.sqrt(max(seconds[clip.source.speaker], 1e-9))
        x = ((state - mean) / spread)[clip.valid]
        y = _around(clip.displacement.reshape(len(clip.valid), -1) @ mouth)[clip.valid]
        square += weight * x.T @ x
        product += weight * x.T @ (y - y.mean(0))
    penalty = PENALTY * np.trace(square) / size
    regression = np.linalg.solve(square + penalty * np.eye(size), product)
    _, directions = np.linalg.eigh(regression.T @ square @ regression)
    chosen = (regression @ directions[:, ::-1][:, :EMBEDDING_DIM]) / spread[:, None]
    projected = valid @ chosen
    scale = projected.std(0)
    weight = (chosen / scale).T
    return weight.astype(np.float32), (-projected.mean(0) / scale).astype(np.float32)


def _around(rows: FloatArray) -> FloatArray:
    """Each row with those at `OFFSETS` from it : float [N, K * len(OFFSETS)]."""
    at = np.arange(len(rows))[:, None] + np.array(OFFSETS)
    return rows[np.clip(at, 0, len(rows) - 1)].reshape(len(rows), -1)


def write_silence(path: PathLike) -> None:
    """Write the embedding of digital silence under each shipped projection.

    `heygem.audio.embedding.silent_embedding` reads it.
    """
    from safetensors.numpy import save_file

    rows = SILENCE_ROWS // ROW_FRAMES
    silence = {}
    for name, projection in PROJECTIONS.items():
        sound = np.zeros(SILENCE_ROWS * HOP, np.float32)
        states = encoder_states(sound, rows=rows + 1, causal=projection.causal)
        weight, bias = projection_of(name)
        silence[name] = weight @ states[rows // 2] + bias
    with files.replacing(Path(path)) as staged:
        save_file(silence, staged)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: fit a projection on a dataset's training clips and write it."""
    from safetensors.numpy import save_file

    parser = argparse.ArgumentParser(prog="python -m heygem.training.projection")
    parser.add_argument("dataset")
    parser.add_argument("--licences", default="", help="classes to use, with commas; default: all")
    parser.add_argument("--exclude-licences", default="research-only")
    parser.add_argument("--cache")
    parser.add_argument("--out", required=True)
    parser.add_argument("--causal", action="store_true", help="of the causal encoder")
    options = parser.parse_args(arguments)
    allowed, excluded = options.licences.split(","), options.exclude_licences.split(",")
    sources = [
        source
        for source in dataset.find(options.dataset)
        if source.split == "train"
        and source.licence_class not in excluded
        and (not options.licences or source.licence_class in allowed)
    ]
    clips = dataset.load(sources, cache=options.cache).clips
    states = [
        encoder_states(
            audio.load(clip.source.path).samples, rows=len(clip.valid), causal=options.causal
        )
        for clip in clips
    ]
    mouth = coefficients.projection(fit_basis(clips, MOUTH_COEFFICIENTS).shapes)
    weight, bias = fit_projection(states, clips, mouth)
    with files.replacing(Path(options.out)) as staged:
        save_file({"weight": weight.astype(np.float16), "bias": bias.astype(np.float16)}, staged)
    speakers = {clip.source.speaker for clip in clips}
    seconds = sum(clip.duration_s for clip in clips)
    print(f"{len(clips)} clips of {len(speakers)} speakers, {seconds / 60:.1f} minutes")


if __name__ == "__main__":
    main()
