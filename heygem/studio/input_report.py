"""Quality of the inputs as text, and a few frames with the tracked landmarks."""

import html
from typing import Any

import cv2
import numpy as np

from heygem import audio, media
from heygem.avatar import Avatar
from heygem.core.i18n import Translate
from heygem.core.types import Image
from heygem.face import topology as topo
from heygem.face.tracking import Track
from heygem.studio.images import encode_jpeg
from heygem.studio.session import Session

STRIP_FRAMES = 6
STRIP_PX = 150  # height of each frame
USABLE_COLOUR, UNUSABLE_COLOUR = (40, 220, 90), (230, 60, 60)
ROWS = ("video", "face", "sharpness", "audio")


def input_facts(session: Session) -> dict[str, Any]:
    """Numbers in the report; empty before anything is loaded."""
    if not session.is_loaded:
        return {}
    report, samples = session.avatar.report, session.encoded_audio.speech.samples
    rms, video = audio.voiced_rms(samples), session.avatar.info.video
    return {
        "width": session.avatar.track.width,
        "height": session.avatar.track.height,
        "rate": float(video.rate) if video is not None else 0.0,
        "frames": report["frames"],
        "usable": report["usable_frames"] / max(report["frames"], 1),
        "face_px": report["face_px"],
        "yaw": report["yaw_deg"],
        "pitch": report["pitch_deg"],
        "sharpness": report["sharpness"],
        "seconds": session.total_s,
        "level": f"{20 * np.log10(rms):.0f} dBFS" if rms > 0 else "−∞",
        "speech": float((session.encoded_audio.voice > audio.IS_SPEECH).mean()),
    }


def report_html(session: Session, translate: Translate, lang: str) -> str:
    """Facts about video, face and audio, then what to improve; empty before anything is loaded."""
    facts = input_facts(session)
    if not facts:
        return ""
    lines = "".join(
        f"<div><b>{translate('report_title_' + row)}:</b> "
        f"{html.escape(translate('report_' + row, **facts))}</div>"
        for row in ROWS
    )
    problems = [finding for finding in session.findings() if finding.level != "info"]
    if not problems:
        return lines + f"<div>✔ {translate('report_no_problems')}</div>"
    return lines + "".join(f"<div>⚠ {html.escape(p.text(lang))}</div>" for p in problems)


def landmark_strip(avatar: Avatar) -> bytes:
    """A few frames of the video with the tracked lips and jaw drawn on them, as JPEG."""
    track = avatar.track
    rows = np.unique(np.linspace(0, len(track) - 1, STRIP_FRAMES).astype(int))
    images = []
    for row in rows:
        with media.VideoReader(avatar.path, start_s=float(track.times_s[row])) as reader:
            frame = next(iter(reader), None)
        if frame is not None:
            images.append(_draw_landmarks(frame.image, track, row, avatar.usable[row]))
    return encode_jpeg(np.concatenate(images, axis=1))


def _draw_landmarks(image: Image, track: Track, row: int, usable: bool) -> Image:
    """Crop of the head with lips and jaw: green in a usable frame, red in another."""
    if not track.detected[row]:
        x0, y0, x1, y1 = 0, 0, image.shape[1], image.shape[0]
        points = None
    else:
        points = track.points[row][:, :2]
        low, high = points.min(0), points.max(0)
        radius = float((high - low).max()) * 0.8
        middle = (low + high) / 2
        x0, y0 = np.maximum(middle - radius, 0).astype(int)
        x1, y1 = (middle + radius).astype(int)
    crop = image[y0:y1, x0:x1]
    zoom = STRIP_PX / crop.shape[0]
    small = cv2.resize(crop, (max(1, round(crop.shape[1] * zoom)), STRIP_PX))
    small = np.ascontiguousarray(small)
    if points is not None:
        colour = USABLE_COLOUR if usable else UNUSABLE_COLOUR
        for ring, closed in ((topo.LIPS_OUTER, True), (topo.LIPS_INNER, True), (topo.JAW, False)):
            line = np.rint((points[ring] - (x0, y0)) * zoom * 8).astype(np.int32)
            cv2.polylines(small, [line], closed, colour, 1, cv2.LINE_AA, 3)
    return small
