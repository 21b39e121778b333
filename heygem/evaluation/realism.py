"""How well a small network that has seen real and drawn mouths tells them apart.

Real and drawn crops come from the same frames and pass through the same crop, scale and codec, so
that only the mouth can give a drawing away. The network never sees the people it is tested on.
50 % is chance: nothing was found. The figure is a lower bound of what can be found, because a
larger network or more people might find more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import cv2
import numpy as np
import torch
from torch import nn

from heygem.core.types import FloatArray, Image
from heygem.face.pose import Pose
from heygem.media.round_trip import encode_and_decode

SIZE = 96  # pixels of a crop
HALF_IOD = 0.42  # half width of a crop
BORDER = 4  # pixels around it, for random shifts in training
CRF = 18  # of the codec that real and drawn crops pass through
CLIP_FRAMES = 8
EPOCHS = 12
BATCH = 64
LEARNING_RATE = 2e-3
FOLDS = 2


@dataclass(frozen=True)
class MouthFilm:
    """Real and drawn crops of the same frames of one person.

    Attributes
    ----------
    speaker : str
    real, drawn : uint8 [T, SIZE + 2 BORDER, SIZE + 2 BORDER, 3], RGB
        Consecutive frames, after `through_codec`.
    """

    speaker: str
    real: np.ndarray
    drawn: np.ndarray


@dataclass(frozen=True)
class Realism:
    """How often real and drawn were told apart, for people who were not trained on.

    Attributes
    ----------
    accuracy : float
        Share of right answers, mean over people: 0.5 is chance.
    ranking : float
        Share of pairs of a real and a drawn sample of one person in which the drawn one looks more
        drawn, mean over people: 0.5 is chance. Unlike the accuracy it does not depend on where
        the network draws the line for a person it has not seen.
    by_speaker : dict of str to float
    count : int
        Samples that were judged.
    """

    accuracy: float
    ranking: float
    by_speaker: dict[str, float]
    count: int


def crop_mouth(image: Image, pose: Pose, row: int, middle: FloatArray) -> Image:
    """Crop fixed to the skull, whatever the lips do : uint8 [s, s, 3].

    Parameters
    ----------
    image : uint8 [H, W, 3]
    pose : Pose
    row : int
        Of the frame in `pose`.
    middle : float32 [3]
        Middle of the lips at rest, canonical.
    """
    side = SIZE + 2 * BORDER
    scale = float(pose.scale[row])
    centre = scale * (pose.rotation[row] @ middle)[:2] + pose.offset[row, :2]
    zoom = SIZE / (2 * HALF_IOD * scale)
    x0, y0 = (max(int(v - 0.6 * side / zoom), 0) for v in centre)
    x1, y1 = (max(int(v + 0.6 * side / zoom), 1) for v in centre)
    image, centre = image[y0:y1, x0:x1], centre - (x0, y0)
    if zoom < 0.7:  # warpAffine does not average: large faces are reduced first
        image = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
        centre, zoom = (centre + 0.5) * zoom - 0.5, 1.0
    matrix = np.array(
        [[zoom, 0, side / 2 - zoom * centre[0]], [0, zoom, side / 2 - zoom * centre[1]]], np.float32
    )
    return cv2.warpAffine(
        image, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )


def through_codec(images: Sequence[Image], rate: Fraction = Fraction(25)) -> np.ndarray:
    """Encode crops with x264 and decode them again : uint8 [T, s, s, 3]."""
    height, width = images[0].shape[:2]
    pictures = (
        av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24") for image in images
    )
    frames = encode_and_decode(
        pictures, "libx264", {"crf": str(CRF)}, size=(width, height), rate=rate
    )
    return np.stack([frame.to_ndarray(format="rgb24") for frame in frames])


class Judge(nn.Module):
    """A small convolutional network over one frame or several; a positive output means drawn."""

    def __init__(self, frames: int = 1) -> None:
        super().__init__()
        channels = [3 if frames == 1 else 6, 16, 32, 64, 96]
        layers: list[nn.Module] = []
        for k, (a, b) in enumerate(zip(channels[:-1], channels[1:], strict=True)):
            layers += [nn.Conv2d(a, b, 5 if k == 0 else 3, 2, 2 if k == 0 else 1, bias=False)]
            layers += [nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
        self.features = nn.Sequential(*layers)
        self.frames = frames
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(channels[-1] * 2, 1))

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """`clips` float [n, frames, 3, h, w], 0..1 -> float [n]."""
        n, t = clips.shape[:2]
        if t > 1:  # how a picture changes shows beside the picture
            change = torch.diff(clips, dim=1, prepend=clips[:, :1])
            clips = torch.cat([clips, 4 * change], 2)
        maps = self.features(clips.flatten(0, 1))
        pooled = torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)
        return self.head(pooled.view(n, t, -1).mean(1))[:, 0]


def judge_realism(
    films: Sequence[MouthFilm], *, frames: int = 1, folds: int = FOLDS, seed: int = 0
) -> tuple[Realism, list[Judge]]:
    """Train on some people, test on the others, until each has been tested on once.

    Parameters
    ----------
    films : sequence of MouthFilm
        A person may have several.
    frames : int
        1, or the length of the clips that are judged.
    folds : int
        Parts into which the people are divided.
    seed : int

    Returns
    -------
    (Realism, list of Judge)
        The result, and the network of each fold.
    """
    speakers = sorted({film.speaker for film in films})
    if len(speakers) < folds:
        raise ValueError(f"{folds} folds need as many people; seen: {len(speakers)}")
    order = np.random.default_rng(seed).permutation(len(speakers))
    right: dict[str, list[float]] = {speaker: [] for speaker in speakers}
    ranked: dict[str, list[float]] = {speaker: [] for speaker in speakers}
    judges = []
    for fold in range(folds):
        tested = {speakers[k] for k in order[fold::folds]}
        judge = train_judge([f for f in films if f.speaker not in tested], frames, seed + fold)
        judges.append(judge)
        for film in films:
            if film.speaker in tested:
                real, drawn = (scores(judge, crops) for crops in (film.real, film.drawn))
                right[film.speaker] += [*map(float, real <= 0), *map(float, drawn > 0)]
                difference = np.subtract.outer(drawn, real)
                ranked[film.speaker].append(float((np.sign(difference).mean() + 1) / 2))
    by_speaker = {speaker: float(np.mean(v)) for speaker, v in right.items() if v}
    count = sum(len(v) for v in right.values())
    accuracy = float(np.mean(list(by_speaker.values())))
    ranking = float(np.mean([np.mean(values) for values in ranked.values() if values]))
    return Realism(accuracy, ranking, by_speaker, count), judges


def train_judge(films: Sequence[MouthFilm], frames: int, seed: int) -> Judge:
    """Train a network to tell the drawn crops of some people from their real ones."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    judge = Judge(frames)
    starts = [(k, s) for k, film in enumerate(films) for s in _starts(len(film.real), frames)]
    steps = max(1, EPOCHS * len(starts) // (BATCH // 2))
    optimizer = torch.optim.AdamW(judge.parameters(), LEARNING_RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    per_step = max(4, BATCH // 2 // (1 if frames == 1 else frames // 2))
    for _ in range(steps):
        chosen = rng.integers(0, len(starts), per_step)
        clips, labels = [], []
        for k, s in (starts[c] for c in chosen):
            # Both of a pair are changed alike: light and place tell nothing.
            change = _random_change(rng)
            for label, crops in enumerate((films[k].real, films[k].drawn)):
                clips.append(_changed(crops[s : s + frames], *change))
                labels.append(float(label))
        loss = nn.functional.binary_cross_entropy_with_logits(
            judge(torch.stack(clips)), torch.tensor(labels)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return judge.eval()


def _starts(count: int, frames: int) -> range:
    """First frames of the samples of a film: every second frame, or half-overlapping clips."""
    return range(0, count - frames + 1, 2 if frames == 1 else max(frames // 2, 1))


def _random_change(rng: np.random.Generator) -> tuple[int, int, bool, float]:
    x, y = (int(v) for v in rng.integers(0, 2 * BORDER + 1, 2))
    return x, y, bool(rng.integers(2)), float(rng.uniform(0.8, 1.2))


def _changed(crops: np.ndarray, x: int, y: int, mirrored: bool, gain: float) -> torch.Tensor:
    """A shifted, mirrored, brighter sample : float32 [T, 3, SIZE, SIZE], around 0."""
    part = crops[:, y : y + SIZE, x : x + SIZE]
    if mirrored:
        part = part[:, :, ::-1]
    values = torch.from_numpy(np.ascontiguousarray(part)).permute(0, 3, 1, 2).float()
    return values * (gain / 255) - 0.5


def scores(judge: Judge, crops: np.ndarray) -> FloatArray:
    """Logit of "drawn" for each sample of a film, float32 [n]."""
    starts = _starts(len(crops), judge.frames)
    out = []
    with torch.no_grad():
        for s in starts:
            clip = _changed(crops[s : s + judge.frames], BORDER, BORDER, False, 1.0)
            out.append(float(judge(clip[None])[0]))
    return np.array(out, np.float32)


def heat_map(judge: Judge, crops: np.ndarray, *, side: int = 12) -> FloatArray:
    """How much each place speaks for "drawn": the logit it takes away when it is blurred.

    Parameters
    ----------
    judge : Judge
        Of single frames.
    crops : uint8 [T, s, s, 3]
    side : int
        Pixels of the places.

    Returns
    -------
    float32 [SIZE // side, SIZE // side]
        Mean over the crops.
    """
    count = SIZE // side
    total = np.zeros((count, count), np.float32)
    with torch.no_grad():
        for crop in crops:
            clip = _changed(crop[None], BORDER, BORDER, False, 1.0)
            blurred = _changed(cv2.GaussianBlur(crop, (0, 0), 3)[None], BORDER, BORDER, False, 1.0)
            variants = clip.repeat(count * count + 1, 1, 1, 1)
            for k, (y, x) in enumerate(np.ndindex(count, count)):
                part = np.s_[:, side * y : side * (y + 1), side * x : side * (x + 1)]
                variants[k][part] = blurred[0][part]
            logits = judge(variants[:, None]).numpy()
            total += (logits[-1] - logits[:-1]).reshape(count, count)
    return total / max(len(crops), 1)
