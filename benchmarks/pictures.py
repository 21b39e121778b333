"""Draw the pictures of people in the documentation: the samples, made to speak today.

    python benchmarks/pictures.py [--out docs/images]

`speaking.webp` is the moving picture of the README. `mouths.webp` has, for each person, twelve
mouths of the whole result and, below them, six consecutive frames.
"""

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from heygem import avatar, media, pipeline
from heygem.config.params import Params
from heygem.face import topology as topo
from heygem.rendering.warp.mouth_axes import width_px

ROOT = Path(__file__).parents[1]
PEOPLE = ("hopper.mp4", "collins.mp4", "hopper.jpg")
STEP_S = 0.12  # between frames of the moving picture
HEIGHT_PX, DURATION_S = 240, 4.4  # of it
MOUTHS, CONSECUTIVE = 12, 6
CAPTION_PX = 26
MOUTH_PX = (220, 160)  # width and height of one mouth on the sheet


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as folder:
        films = [make_speak(ROOT / "samples" / name, Path(folder)) for name in PEOPLE]
        draw_moving_picture(films, out / "speaking.webp")
        draw_mouths(films, out / "mouths.webp")


def make_speak(person, folder):
    """The result of a person and the English sample."""
    film = folder / f"{person.name}.mp4"
    pipeline.generate(person, ROOT / "samples" / "speech_en.wav", film, Params())
    return film


def draw_moving_picture(films, target):
    """All films beside each other, as an animation without end."""
    columns = [[_scaled(image) for image in _every(film, STEP_S)] for film in films]
    frames = [Image.fromarray(np.hstack(row)) for row in zip(*columns, strict=False)]
    first, *others = frames
    duration_ms = round(1000 * STEP_S)
    first.save(
        target,
        save_all=True,
        append_images=others,
        duration=duration_ms,
        loop=0,
        quality=75,
        method=6,
    )


def _every(film, step_s):
    due_s = 0.0
    with media.VideoReader(film) as reader:
        for frame in reader:
            if frame.time_s > DURATION_S:
                return
            if frame.time_s >= due_s:
                due_s += step_s
                yield frame.image


def _scaled(image):
    width = round(image.shape[1] * HEIGHT_PX / image.shape[0])
    return cv2.resize(image, (width, HEIGHT_PX), interpolation=cv2.INTER_AREA)


def draw_mouths(films, target):
    """Three rows of six mouths for each film, under a line that says that they are drawn."""
    rows = [row for film in films for row in _mouth_rows(film)]
    heading = np.full((CAPTION_PX, rows[0].shape[1], 3), 255, np.uint8)
    cv2.putText(heading, "AI-generated", (8, CAPTION_PX - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 0)
    rows.insert(0, heading)
    Image.fromarray(np.vstack(rows)).save(target, quality=90, method=6)


def _mouth_rows(film):
    track = avatar.load(film, Params().face, cache=False).track
    spread = np.linspace(0.05, 0.9, MOUTHS) * len(track)
    consecutive = len(track) // 2 + np.arange(CONSECUTIVE)
    wanted = [*spread.astype(int), *consecutive]
    size_px = _crop_size(track.points[0])
    mouths = {}
    with media.VideoReader(film, only=sorted(set(wanted))) as reader:
        for frame in reader:
            centre = track.points[frame.index][topo.LIPS_OUTER, :2].mean(0)
            around = cv2.getRectSubPix(frame.image, size_px, tuple(map(float, centre)))
            mouths[frame.index] = cv2.resize(around, MOUTH_PX, interpolation=cv2.INTER_CUBIC)
    for start in range(0, len(wanted), CONSECUTIVE):
        yield np.hstack([mouths[index] for index in wanted[start : start + CONSECUTIVE]])


def _crop_size(mesh):
    """Width and height [pixels] of the part of the picture around a mouth of this mesh."""
    width = 2 * width_px(mesh[:, :2])
    return round(width), round(width * MOUTH_PX[1] / MOUTH_PX[0])


if __name__ == "__main__":
    main()
