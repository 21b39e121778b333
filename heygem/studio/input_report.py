"""What the inputs are like, in plain words and one picture."""

import html

import cv2
import numpy as np

from heygem import audio, media
from heygem.core.i18n import LANGUAGES
from heygem.face import topology as topo

STRIP_FRAMES = 6
STRIP_PX = 150  # height of each picture

_ROWS = {
    "video": (
        "{width}×{height}, {rate:.4g} frames/s, {frames} frames; {usable:.0%} can be used",
        "{width}×{height}，每秒 {rate:.4g} 帧，共 {frames} 帧；{usable:.0%} 可用",
    ),
    "face": (
        "{face:.0f} px wide; turned {yaw[0]:.0f}° to {yaw[1]:.0f}°, nodding {pitch[0]:.0f}° to "
        "{pitch[1]:.0f}°",
        "宽 {face:.0f} 像素；左右转 {yaw[0]:.0f}° 到 {yaw[1]:.0f}°，俯仰 {pitch[0]:.0f}° 到 "
        "{pitch[1]:.0f}°",
    ),
    "sharp": (
        "mouth detail {sharp:.0f} (below 20 looks soft)",
        "嘴部细节 {sharp:.0f}（低于 20 会显得模糊）",
    ),
    "sound": (
        "{seconds:.1f} s, level {level}, speech {speech:.0%} of the time",
        "{seconds:.1f} 秒，电平 {level}，{speech:.0%} 的时间有语音",
    ),
}
_TITLES = {
    "video": ("Picture", "画面"),
    "face": ("Face", "人脸"),
    "sharp": ("Sharpness", "清晰度"),
    "sound": ("Sound", "声音"),
    "fine": ("Nothing to fix.", "没有需要处理的问题。"),
}


def facts(session):
    """The numbers behind the report: dict, empty before anything is open."""
    if not session.is_loaded:
        return {}
    report, samples = session.avatar.report, session.encoded_audio.speech.samples
    rms = audio.voiced_rms(samples)
    return {
        "width": session.avatar.track.width,
        "height": session.avatar.track.height,
        "rate": float(session.avatar.info.video.rate),
        "frames": report["frames"],
        "usable": report["usable_frames"] / max(report["frames"], 1),
        "face": report["face_px"],
        "yaw": report["yaw_deg"],
        "pitch": report["pitch_deg"],
        "sharp": report["sharpness"],
        "seconds": session.total_s,
        "level": f"{20 * np.log10(rms):.0f} dBFS" if rms > 0 else "−∞",
        "speech": float((session.encoded_audio.voice > 0.5).mean()),
    }


def report_html(session, lang="en"):
    """Facts about picture, face and sound, then what to fix."""
    found = facts(session)
    if not found:
        return ""
    at = 0 if lang == "en" else 1
    lines = "".join(
        f"<div><b>{_TITLES[key][at]}:</b> {html.escape(texts[at].format(**found))}</div>"
        for key, texts in _ROWS.items()
    )
    wrong = [f for f in session.findings() if f.level != "info"]
    if not wrong:
        return lines + f"<div>✔ {_TITLES['fine'][at]}</div>"
    return lines + "".join(f"<div>⚠ {html.escape(f.text(LANGUAGES[at]))}</div>" for f in wrong)


def track_strip(session):
    """A few frames over the video with the tracked lips and jaw drawn on them, as JPEG.

    Returns
    -------
    bytes
    """
    track = session.avatar.track
    rows = np.unique(np.linspace(0, len(track) - 1, STRIP_FRAMES).astype(int))
    pictures = []
    for row in rows:
        with media.VideoReader(session.avatar.path, start_s=float(track.times_s[row])) as reader:
            frame = next(iter(reader), None)
        if frame is not None:
            pictures.append(_marked(frame.image, track, row, session.avatar.usable[row]))
    strip = np.concatenate(pictures, axis=1)
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(strip, cv2.COLOR_RGB2BGR))
    return data.tobytes() if ok else b""


def _marked(image, track, row, usable):
    """The head, cut out, with lips and jaw drawn: green where it can be used, red where not."""
    if not track.detected[row]:
        x0, y0, x1, y1 = 0, 0, image.shape[1], image.shape[0]
        points = None
    else:
        points = track.points[row][:, :2]
        low, high = points.min(0), points.max(0)
        side = float((high - low).max()) * 0.8
        middle = (low + high) / 2
        x0, y0 = np.maximum(middle - side, 0).astype(int)
        x1, y1 = (middle + side).astype(int)
    crop = image[y0:y1, x0:x1]
    zoom = STRIP_PX / crop.shape[0]
    small = cv2.resize(crop, (max(1, round(crop.shape[1] * zoom)), STRIP_PX))
    small = np.ascontiguousarray(small)
    if points is not None:
        colour = (40, 220, 90) if usable else (230, 60, 60)
        for ring, closed in ((topo.LIPS_OUTER, True), (topo.LIPS_INNER, True), (topo.JAW, False)):
            line = np.rint((points[ring] - (x0, y0)) * zoom * 8).astype(np.int32)
            cv2.polylines(small, [line], closed, colour, 1, cv2.LINE_AA, 3)
    return small
