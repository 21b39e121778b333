"""How often a small network tells drawn mouths from real ones, on people it has never seen.

    python benchmarks/realism.py draw CLIPS.csv FOLDER   one .npz of crops for each clip
    python benchmarks/realism.py judge FOLDER            accuracy for each method, and a heat map

The columns `file` (relative to the table) and `speaker` are read. Each person is fitted on the
first part of the clip; held-out frames are drawn with the motion predicted from their sound
(model), with their true motion (oracle: what the picture alone gives away) and with that of other
moments (copy). As a check of the judge, Wav2Lip's network with random weights draws them as well
(wav2lip): that it must always tell.
Real frames pass through the same crop, scale and codec. The crops are pictures of
people: they stay in FOLDER, and nothing is published.
"""

import argparse
import csv
import functools
import tempfile
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from peers import random_checkpoint

from heygem import audio, media, pipeline
from heygem.avatar.timeline import Timeline
from heygem.config.params import Params
from heygem.core.errors import HeygemError
from heygem.evaluation import baselines, realism
from heygem.evaluation.methods import audio_between
from heygem.evaluation.split import compact_runs, fit_person
from heygem.face import topology as topo
from heygem.lips.motion import RecordedMotion
from heygem.pipeline.frames import finished_frames
from heygem.pipeline.models import Models
from heygem.rendering.warp.renderer import WarpRenderer
from heygem.rendering.wav2lip.engine import Wav2LipEngine, Wav2LipRenderer

METHODS = ("model", "oracle", "copy", "wav2lip")
FRAMES = 64  # consecutive held-out frames of each clip
FOLDS = 6  # each network learns from five sixths of the people
MIN_SCALE_PX = 48.0  # between the outer eye corners; a smaller mouth has nothing to judge


def draw(table, folder):
    """Write the crops of every clip of a table; clips that are there already are left."""
    params = Params()
    models = Models(params)
    folder.mkdir(parents=True, exist_ok=True)
    for row in csv.DictReader(table.open(newline="", encoding="utf-8")):
        target = folder / f"{row['file'].replace('/', '__')}.npz"
        if target.exists():
            continue
        try:
            films = _draw_clip(table.parent / row["file"], params, models)
        except HeygemError as error:
            print(error)
            continue
        if films is None:
            print(row["file"], "left out: too small or too short")
            continue
        np.savez(target, speaker=row["speaker"], **films)
        print(row["file"], len(films["real"]), flush=True)


def _draw_clip(path, params, models):
    """Real and drawn crops of consecutive held-out frames, by method; None: too small or short."""
    person = fit_person(path, params.face)
    avatar, split = person.avatar, person.split
    times_s = avatar.track.times_s
    usable = split.held_out(times_s) & avatar.usable
    runs = compact_runs(avatar.track, usable)
    start, stop = max(runs, key=lambda run: run[1] - run[0], default=(0, 0))
    frames = np.flatnonzero(usable)[start:stop][:FRAMES]
    if len(frames) < 2 * realism.CLIP_FRAMES:
        return None
    if np.median(avatar.pose.scale[frames]) < MIN_SCALE_PX:
        return None
    samples = audio.load(path).samples
    speech = audio_between(samples, float(times_s[frames[0]]), float(times_s[frames[-1]]))
    with media.VideoReader(
        path, start_s=float(times_s[frames[0]]), end_s=float(times_s[frames[-1]]) + 1e-3
    ) as reader:
        wanted = set(frames.tolist())
        images = [frame.image.copy() for frame in reader if frame.index in wanted]
    films = {"real": _crops(images, avatar, frames)}
    for method in METHODS:
        if method == "wav2lip":
            renderer, motion = Wav2LipRenderer(_random_wav2lip(), avatar), None
        else:
            renderer = WarpRenderer(avatar, params.renderer)
            motion = _motion(method, person, frames, speech, params, models)
        timeline = Timeline(frames, times_s[frames] - times_s[frames[0]], Fraction(25), len(frames))
        renderer.plan(motion, speech, timeline)
        drawn = [frame.image.copy() for frame in finished_frames(images, renderer, timeline)]
        films[method] = _crops(drawn, avatar, frames)
    return films


@functools.cache
def _random_wav2lip():
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "random.safetensors"
        random_checkpoint(checkpoint)
        return Wav2LipEngine(checkpoint)


def _motion(method, person, frames, speech, params, models):
    avatar = person.avatar
    if method == "model":
        trajectory = models.lips.predict(speech)
        voice = audio.voice_activity(speech)
        motion = pipeline.articulate(trajectory, voice, avatar, models.lips, params.lips)
        return pipeline.with_expression(motion, avatar, frames, params.lips)
    if method == "oracle":
        return RecordedMotion(avatar.displacement(frames))
    library = np.flatnonzero(person.split.library(avatar.track.times_s) & avatar.usable)
    return RecordedMotion(baselines.source_copy(avatar.displacement(library), len(frames)))


def _crops(images, avatar, frames):
    middle = avatar.rest.neutral[topo.LIPS_INNER].mean(0)
    return realism.through_codec(
        [
            realism.crop_mouth(image, avatar.pose, int(frame), middle)
            for image, frame in zip(images, frames, strict=True)
        ]
    )


def judge(folder):
    """Print the accuracy on frames and on clips for each method, and write heat maps."""
    clips = [np.load(path) for path in sorted(folder.glob("*.npz"))]
    methods = [key for key in METHODS if all(key in clip.files for clip in clips)]
    print(f"{len({str(clip['speaker']) for clip in clips})} people, {len(clips)} clips")
    print("| drawn with | single frames | ranking | clips of 8 frames | ranking |")
    print("|---|---|---|---|---|")
    for method in methods:
        films = [
            realism.MouthFilm(str(clip["speaker"]), clip["real"], clip[method]) for clip in clips
        ]
        by_frame, judges = realism.judge_realism(films, folds=FOLDS)
        by_clip, _ = realism.judge_realism(films, frames=realism.CLIP_FRAMES, folds=FOLDS)
        values = [by_frame.accuracy, by_frame.ranking, by_clip.accuracy, by_clip.ranking]
        print(f"| {method} |", " | ".join(f"{value:.0%}" for value in values), "|", flush=True)
        hardest = sorted(by_frame.by_speaker.items(), key=lambda item: -item[1])
        print("  ", ", ".join(f"{name} {value:.0%}" for name, value in hardest), flush=True)
        _write_heat_map(folder / f"heat-{method}.png", judges[0], films)


def _write_heat_map(path, network, films):
    """The mean drawn crop, and in red what speaks for a drawing in it."""
    crops = np.concatenate([film.drawn[::16] for film in films])
    heat = realism.heat_map(network, crops)
    b = realism.BORDER
    mean = crops[:, b:-b, b:-b].mean(0)
    red = cv2.resize(heat / max(float(heat.max()), 1e-6), mean.shape[1::-1])[..., None]
    picture = mean + np.clip(red, 0, 1) * (np.array([255, 0, 0]) - mean) * 0.7
    size = (4 * realism.SIZE, 4 * realism.SIZE)
    cv2.imwrite(str(path), cv2.resize(picture.astype(np.uint8), size)[..., ::-1])


def main():
    """Parse the command line and run one of the two steps."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    steps = parser.add_subparsers(dest="step", required=True)
    step = steps.add_parser("draw")
    step.add_argument("table", type=Path)
    step.add_argument("folder", type=Path)
    step = steps.add_parser("judge")
    step.add_argument("folder", type=Path)
    options = parser.parse_args()
    if options.step == "draw":
        draw(options.table, options.folder)
    else:
        judge(options.folder)


if __name__ == "__main__":
    main()
