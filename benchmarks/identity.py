"""Error rates of the check that all footage shows one person (`heygem finetune`).

    python benchmarks/identity.py embed CLIPS.csv FOLDER   frames of each clip, and their embeddings
    python benchmarks/identity.py rates FOLDER             pairs of clips: verdicts, error rates
    python benchmarks/identity.py changes FOLDER           glasses, light and resolution

The columns `file` (relative to the table) and `speaker` are read of CLIPS.csv; rows without a
speaker are left out. Where one person has two names in it, say so with `--same NAME=NAME`: such a
pair shows up among the most similar strangers, which `rates` lists to be looked at. Faces are taken
from 16 frames spread over a clip, dissolves and profiles included, which fine-tuning would not use.
"""

import argparse
import csv
import itertools
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from heygem import media
from heygem.core import assets
from heygem.core.errors import HeygemError
from heygem.face import identity
from heygem.face.backends import MediaPipeBackend
from heygem.face.tracking import MIN_SCORE
from heygem.finetune.identity_check import OTHER, PIECE, SAME, FaceSamples, judge

SAMPLES = 16  # of each clip
CLIPS_OF_ONE = 10  # clips of one speaker that are used
LISTED = 15  # pairs that `rates` names
FACE_WIDTH = 0.8  # of the aligned picture, temple to temple
FRAMES_CHANGED = 3


def embed(table, folder):
    """Write one `.npz` for each clip: aligned faces, embeddings, speaker."""
    backend = MediaPipeBackend(assets.path)
    embedder = identity.FaceEmbedder(assets.path(identity.MODEL))
    folder.mkdir(parents=True, exist_ok=True)
    counts = Counter()
    for row in csv.DictReader(table.open(newline="", encoding="utf-8")):
        counts[row["speaker"]] += 1
        target = folder / f"{row['file'].replace('/', '__')}.npz"
        if not row["speaker"] or counts[row["speaker"]] > CLIPS_OF_ONE or target.exists():
            continue
        try:
            faces = list(_faces(table.parent / row["file"], backend))
        except HeygemError as error:
            print(error)
            continue
        if len(faces) >= PIECE:
            embeddings = np.stack([embedder.embed_aligned(face) for face in faces])
            np.savez(target, faces=faces, embeddings=embeddings, speaker=row["speaker"])
        print(row["file"], len(faces), flush=True)


def _faces(path, backend):
    """The best face in frames spread over a clip, aligned : uint8 [112, 112, 3]."""
    count = max(1, media.probe(path).video.frame_estimate)
    wanted = set(np.linspace(0.02 * count, 0.96 * count, SAMPLES).astype(int).tolist())
    with media.VideoReader(path, only=wanted) as reader:
        for frame in reader:
            regions = backend.detect(frame.image) if frame.index in wanted else []
            if regions:
                points, score = backend.mesh(frame.image, regions[0])
                if score >= MIN_SCORE:
                    yield identity.aligned(frame.image, points)


def read(folder, same):
    """[(file name, speaker, FaceSamples, faces)]."""
    names = dict(pair.split("=") for pair in same)
    clips = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as stored:
            embeddings, speaker = stored["embeddings"], str(stored["speaker"])
            groups = max(1, round(len(embeddings) / PIECE))
            piece = np.arange(len(embeddings)) * groups // len(embeddings)
            samples = FaceSamples(np.arange(len(embeddings)), piece, embeddings)
            clips.append((path.stem, names.get(speaker, speaker), samples, stored["faces"]))
    return clips


def rates(clips):
    """Print verdicts on all ordered pairs of clips, error rates, and the pairs nearest to one."""
    pairs = []
    for (name, speaker, primary, _), (
        other_name,
        other_speaker,
        other,
        _,
    ) in itertools.permutations(clips, 2):
        similarity, pieces, verdict = judge(other, primary.reference)
        mean = float(identity.unit(other.embeddings.mean(0)) @ primary.reference)
        is_same = speaker == other_speaker
        pairs.append((is_same, mean, similarity, str(verdict), len(pieces), name, other_name))
    print(f"{len(clips)} clips, {len({speaker for _, speaker, *_ in clips})} people\n")
    print("| pairs | number | same | doubtful | somebody else | some shots left out |")
    print("|---|---|---|---|---|---|")
    for label, kind in (("one person, two clips", True), ("two people", False)):
        chosen = [pair for pair in pairs if pair[0] == kind]
        verdicts = Counter(pair[3] for pair in chosen)
        shots = sum(pair[4] > 0 for pair in chosen)
        counts = " | ".join(str(verdicts[v]) for v in ("same", "doubtful", "other"))
        print(f"| {label} | {len(chosen)} | {counts} | {shots} |")
    means = np.array([pair[1] for pair in pairs])
    is_same = np.array([pair[0] for pair in pairs])
    print(f"\nSimilarity of means: one person {means[is_same].min():.3f} and more, "
          f"two people {means[~is_same].max():.3f} at most")  # fmt: skip
    limits = np.unique(means)
    accepted = 1 - np.searchsorted(np.sort(means[~is_same]), limits) / (~is_same).sum()
    refused = np.searchsorted(np.sort(means[is_same]), limits) / is_same.sum()
    best = int(np.abs(accepted - refused).argmin())
    print(f"equal error rate {100 * (accepted[best] + refused[best]) / 2:.3f} %")
    for title, chosen in (
        ("least similar clips of one person", sorted(p for p in pairs if p[0])),
        ("most similar clips of two people", sorted((p for p in pairs if not p[0]), reverse=True)),
    ):
        print(f"\n{title}:")
        for _, mean, similarity, verdict, _, name, other_name in chosen[:LISTED]:
            print(f"  {mean:.3f} {similarity:.3f} {verdict:8s} {name} {other_name}")


# --- changes ---


def _glasses(face, *, dark=False):
    """Thick frames, or sunglasses, drawn where the eyes are."""
    face, colour = face.copy(), (25, 20, 20)
    for x in (38, 74):
        if dark:
            cv2.ellipse(face, (x, 53), (15, 12), 0, 0, 360, colour, -1, cv2.LINE_AA)
        cv2.ellipse(face, (x, 53), (15, 12), 0, 0, 360, colour, 2, cv2.LINE_AA)
    for start, stop in (((53, 51), (59, 51)), ((23, 51), (6, 49)), ((89, 51), (106, 49))):
        cv2.line(face, start, stop, colour, 2, cv2.LINE_AA)
    return face


def _gain(face, gain):
    return np.clip(face * gain, 0, 255).astype(np.uint8)


def _gamma(face, gamma):
    return (255 * (face / 255) ** gamma).astype(np.uint8)


def _narrow(face, width_px):
    """As a face of this width would look."""
    size = round(width_px / FACE_WIDTH)
    small = cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, face.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def _jpeg(face, quality):
    return cv2.imdecode(cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1)


SIDE_LIGHT = np.linspace(0.25, 1.3, identity.INPUT_PX)[None, :, None]
CHANGES = {
    "none": lambda face: face,
    "glasses with thick frames": _glasses,
    "sunglasses": lambda face: _glasses(face, dark=True),
    "half the light": lambda face: _gamma(face, 2.2),
    "light from one side": lambda face: _gain(face, SIDE_LIGHT),
    "warm light": lambda face: _gain(face, np.array([1.25, 0.95, 0.6])),
    "grey": lambda face: np.repeat(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)[..., None], 3, 2),
    "face 48 px wide": lambda face: _narrow(face, 48),
    "face 32 px wide": lambda face: _narrow(face, 32),
    "JPEG quality 15": lambda face: _jpeg(face, 15),
    "glasses, half the light, from one side": lambda face: _gain(
        _gamma(_glasses(face), 2.2), SIDE_LIGHT
    ),
}


def changes(clips):
    """Print similarities of changed faces to the unchanged ones of other clips, by change."""
    embedder = identity.FaceEmbedder(assets.path(identity.MODEL))
    counts, chosen = Counter(), []
    for clip in clips:
        counts[clip[1]] += 1
        if counts[clip[1]] <= 2:  # noqa: PLR2004  of one speaker
            chosen.append(clip)
    references = np.stack([samples.reference for _, _, samples, _ in chosen])
    speakers = np.array([speaker for _, speaker, *_ in chosen])
    print("| change | own other half: lowest | other clip: lowest | median | same | doubtful "
          "| left out | stranger: highest |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
    for name, change in CHANGES.items():
        own, other_clip, strangers = [], [], []
        for k, (_, speaker, samples, faces) in enumerate(chosen):
            half = len(faces) // 2
            rows = np.linspace(half, len(faces) - 1, FRAMES_CHANGED).astype(int)
            changed = np.stack([embedder.embed_aligned(change(faces[row])) for row in rows])
            changed = identity.unit(changed.mean(0))
            own.append(changed @ identity.unit(samples.embeddings[:half].mean(0)))
            similarities = references @ changed
            is_same = speakers == speaker
            strangers.extend(similarities[~is_same])
            is_same[k] = False
            other_clip.extend(similarities[is_same])
        values = np.array(other_clip)
        print(
            f"| {name} | {min(own):.2f} | {values.min():.2f} | {np.median(values):.2f} | "
            f"{(values >= SAME).sum()} | {((values >= OTHER) & (values < SAME)).sum()} | "
            f"{(values < OTHER).sum()} | {max(strangers):.2f} |",
            flush=True,
        )


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("embed")
    command.add_argument("table", type=Path)
    command.add_argument("folder", type=Path)
    for name in ("rates", "changes"):
        command = commands.add_parser(name)
        command.add_argument("folder", type=Path)
        command.add_argument("--same", action="append", default=[], metavar="NAME=NAME")
    arguments = parser.parse_args()
    if arguments.command == "embed":
        embed(arguments.table, arguments.folder)
    else:
        clips = read(arguments.folder, arguments.same)
        (rates if arguments.command == "rates" else changes)(clips)


if __name__ == "__main__":
    main()
