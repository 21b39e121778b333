"""Make the sample clips, their truth tables, the driving audio and the still portrait.

    python samples/make_samples.py [--out DIR] [--only NAME ...]

Two portraits in the public domain, which come inside our dependencies, are made to speak by
warping: what the mouth does is computed from phone times first, so the lip aperture of every frame
is known exactly. Needs the face models (`heygem models pull`); the same run gives the same truth.
"""

import argparse
import csv
import io
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import visemes
from portrait import Motion, Portrait

from heygem import media
from heygem.audio import tts
from heygem.config.params import LabelSettings
from heygem.core import assets
from heygem.face.backends import MediaPipeBackend
from heygem.face.detector import region_of
from heygem.provenance import VisibleLabel, aigc_tags

HERE = Path(__file__).parent
LEAD_S, TAIL_S = 0.5, 0.7  # silence with closed lips around the speech
RATE_HZ = 22050


@dataclass(frozen=True)
class Clip:
    """One person saying one thing."""

    name: str
    person: str
    text: str
    language: str
    voice: tts.EspeakVoice
    rate: Fraction
    seed: int
    gain: float  # on the aperture: some people open their mouths less


@dataclass(frozen=True)
class Line:
    """Speech alone, to drive other people's mouths with."""

    name: str
    text: str
    language: str
    voice: tts.EspeakVoice


CLIPS = (
    Clip(
        "hopper",
        "hopper",
        "Hello! I am a sample, made by a program. My mouth follows every sound you hear, "
        "one frame after another.",
        "en-us",
        tts.EspeakVoice(rate_wpm=172, pitch=42, pitch_range=55, variant="f2"),
        Fraction(30),
        1,
        1.15,
    ),
    Clip(
        "collins",
        "collins",
        "大家好！这是一段合成的样片，我的嘴巴跟着每个声音走。",
        "cmn",
        tts.EspeakVoice(rate_wpm=165, pitch=55, pitch_range=50, variant="f3"),
        Fraction(25),
        2,
        1.0,
    ),
)
LINES = (
    Line(
        "speech_en",
        "Good morning, everybody! Whoever you see now says what I say: "
        "five big apples, and two warm cups of tea.",
        "en-us",
        tts.EspeakVoice(rate_wpm=178, pitch=48, pitch_range=55, variant="f2"),
    ),
    Line(
        "speech_zh",
        "各位朋友，早上好！今天天气不错，我们去公园散步吧。",
        "cmn",
        tts.EspeakVoice(rate_wpm=165, pitch=52, pitch_range=50, variant="f3"),
    ),
)

# Where Grace Hopper's closed lips meet, measured on the portrait (pixels).
_HOPPER_SEAM = (
    (230.5, 280.9), (233.0, 280.1), (237.0, 279.3), (247.0, 278.8), (257.0, 278.2),
    (262.0, 279.4), (265.0, 280.1), (269.0, 279.8), (273.4, 278.7), (277.0, 277.5),
    (282.7, 277.0), (288.4, 277.8), (292.7, 277.3), (297.7, 276.3), (301.0, 276.4),
    (304.9, 277.8), (307.0, 279.3),
)  # fmt: skip


def photograph(person):
    """The portrait itself : uint8 [H, W, 3], RGB. From an installed package, never fetched."""
    if person == "hopper":
        import matplotlib

        path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    else:
        import skimage.data

        path = Path(skimage.data.__file__).parent / "astronaut.png"
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def portrait(person):
    """The portrait with its mesh, framed for video."""
    image = photograph(person)
    backend = MediaPipeBackend(assets.path)
    region = backend.detect(image)[0]
    for _ in range(4):  # the first region comes from the detector and is rough
        points, _ = backend.mesh(image, region)
        region = region_of(points)
    if person == "hopper":
        return Portrait(image, points, window=(16, 10, 496, 570), scale=1.2, seam=_HOPPER_SEAM)
    return Portrait(image, points, window=(45, 6, 405, 406), scale=1.6)


def speak(text, language, voice):
    """Samples float32 [n] at `RATE_HZ` with silence around, and phones on the same clock."""
    speech = tts.synthesize(text, language, voice=voice)
    if speech.rate_hz != RATE_HZ:
        raise RuntimeError(f"the voice speaks at {speech.rate_hz} Hz, the samples are {RATE_HZ} Hz")
    lead = np.zeros(round(LEAD_S * RATE_HZ), np.float32)
    tail = np.zeros(round(TAIL_S * RATE_HZ), np.float32)
    level = 0.5 / np.abs(speech.samples).max()
    samples = np.concatenate([lead, speech.samples * level, tail])
    start = len(lead) / RATE_HZ
    phones = [(a + start, b + start, s) for a, b, s in speech.phones]
    phones = [(0.0, start, ""), *phones, (phones[-1][1], len(samples) / RATE_HZ, "")]
    return samples.astype(np.float32), phones


@dataclass(frozen=True)
class Truth:
    """What the mouth does in each frame."""

    times_s: np.ndarray
    aperture: np.ndarray
    width: np.ndarray
    phones: list

    def to_csv(self):
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["frame", "time_s", "aperture", "width", "phone"])
        for i, (t, a, w, p) in enumerate(
            zip(self.times_s, self.aperture, self.width, self.phones, strict=True)
        ):
            rows.writerow([i, f"{t:.4f}", f"{a:.4f}", f"{w:.4f}", p])
        return text.getvalue()


def truth(clip):
    """Audio and truth of a clip; needs no picture and no face model."""
    samples, phones = speak(clip.text, clip.language, clip.voice)
    count = int(len(samples) / RATE_HZ * clip.rate)
    times_s = np.arange(count) / float(clip.rate)
    aperture, width, held = visemes.curves(phones, times_s)
    return samples, Truth(times_s, aperture * clip.gain, width, held)


def _drift(times_s, rng, slowest_s, fastest_s):
    """A smooth wandering about 0, roughly within -1..1."""
    total = np.zeros(len(times_s))
    for period_s in np.geomspace(slowest_s, fastest_s, 4):
        weight = period_s / slowest_s
        phase = rng.uniform(0, 2 * np.pi)
        total += weight * np.sin(2 * np.pi * times_s / period_s + phase)
    return total / 1.8


def _blinks(times_s, rng):
    """Lids' closure per frame, 0..1: down in 80 ms, up in 160."""
    closed = np.zeros(len(times_s))
    at = rng.uniform(0.9, 1.6)
    while at < times_s[-1] - 0.4:
        t = times_s - at
        down = np.clip(1 + t / 0.08, 0, 1)
        up = np.clip(1 - (t - 0.03) / 0.16, 0, 1)
        closed = np.maximum(closed, np.where(t < 0, down, up))
        at += rng.uniform(2.2, 3.6)
    return closed * closed * (3 - 2 * closed)


def motions(clip, truth_curves, samples):
    """Everything that moves, frame by frame, in portrait pixels."""
    rng = np.random.default_rng(clip.seed)
    t = truth_curves.times_s
    unit = 1.0 if clip.person == "hopper" else 0.55  # the smaller face moves fewer pixels
    wander = [_drift(t, rng, 5.0, 1.3) for _ in range(8)]
    # People nod with what they say: the speech's loudness, slowed down, lowers the head.
    loud = np.abs(samples)
    frames = np.array([loud[int(x * RATE_HZ) :][: RATE_HZ // 25].mean() for x in t])
    window = np.hanning(max(3, round(0.5 * float(clip.rate)) | 1))
    stress = np.convolve(frames, window / window.sum(), "same")
    stress = stress / (stress.max() + 1e-9)
    lids = _blinks(t, rng)
    for i in range(len(t)):
        w = [x[i] for x in wander]
        yield Motion(
            aperture=truth_curves.aperture[i],
            width=truth_curves.width[i],
            blink=lids[i],
            camera=(0.8 * w[0], 0.5 * w[1], 0.0015 * w[2], 1 + 0.002 * w[3]),
            head=(
                unit * 2.6 * w[4],
                unit * (0.8 * w[5] + 1.8 * stress[i]),
                0.016 * w[6],
                unit * 3.2 * w[7],
                unit * (1.2 * w[5] + 2.0 * stress[i]),
            ),
        )


@dataclass(frozen=True)
class SampleLabel:
    """The label of a sample: in the picture and in the metadata, unsigned."""

    tags: dict[str, str]
    visible: VisibleLabel

    def label_frame(self, image, time_s):
        return self.visible.draw(image, time_s)


def make_clip(clip, out):
    """Write `<name>.mp4` and `<name>.csv`."""
    samples, truth_curves = truth(clip)
    person = portrait(clip.person)
    moves = list(motions(clip, truth_curves, samples))
    meshes = np.stack([person.mesh(m)[:468] for m in moves])
    low, high = meshes.min((0, 1)), meshes.max((0, 1))
    # In the corner that heygem's own label does not use by default.
    settings = LabelSettings(corner="bottom-right")
    label = SampleLabel(
        aigc_tags(settings, f"sample-{clip.name}"),
        VisibleLabel(settings, person.width, person.height, keep_clear=(*low, *high)),
    )
    track = media.AudioTrack(samples[: round(len(moves) / clip.rate * RATE_HZ), None], RATE_HZ)
    with media.VideoWriter(
        out / f"{clip.name}.mp4",
        label=label,
        width=person.width,
        height=person.height,
        rate=clip.rate,
        audio=track,
        crf=20,
        preset="slow",
    ) as writer:
        for i, motion in enumerate(moves):
            writer.write(person.draw(motion), truth_curves.times_s[i])
    (out / f"{clip.name}.csv").write_text(truth_curves.to_csv(), encoding="utf-8")


def make_line(line, out):
    """Write `<name>.wav`, 16-bit."""
    import wave

    samples, _ = speak(line.text, line.language, line.voice)
    with wave.open(str(out / f"{line.name}.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(np.round(samples * 32767).astype("<i2").tobytes())


def make_still(out):
    """Write `hopper.jpg`, the portrait untouched but for the crop."""
    image = photograph("hopper")[8:520]
    image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(out / "hopper.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 93])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE, help="folder [this one]")
    parser.add_argument("--only", nargs="*", help="names of clips and lines [all]")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    for make, things in ((make_clip, CLIPS), (make_line, LINES)):
        for thing in things:
            if chosen.only is None or thing.name in chosen.only:
                print(thing.name, flush=True)
                make(thing, chosen.out)
    if chosen.only is None:
        make_still(chosen.out)


if __name__ == "__main__":
    main()
