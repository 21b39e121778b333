"""Decoded frames to 8-bit RGB, with the colours the source means."""

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from heygem.media.hdr import ToneMap

#: swscale's default reads chroma by nearest neighbour with rounding errors up to 3 levels; these
#: flags interpolate it and round correctly (3.7 ms for 720p on one core; bicubic takes 5.7).
_QUALITY = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
HDR = {16: "PQ", 18: "HLG"}  # AVCOL_TRC_SMPTE2084, AVCOL_TRC_ARIB_STD_B67
_NAMED = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}


def matrix_of(frame) -> Colorspace:
    """The YCbCr matrix of a frame: its tag, else BT.601 below HD and BT.709 from HD up.

    That is what players assume (ITU-R BT.601, BT.709; mpv's rule), so an untagged video looks
    here as it looked to the person who made it.
    """
    named = _NAMED.get(int(frame.colorspace))
    if named is not None:
        return named
    hd = frame.width >= 1280 or frame.height > 576
    return Colorspace.ITU709 if hd else Colorspace.ITU601


class ToRGB:
    """Converter of decoded frames to ``uint8 [H, W, 3]`` RGB; ``notes`` says what was lost."""

    def __init__(self):
        self.notes: list[str] = []
        self._reformatter = VideoReformatter()
        self._tone_map = None

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)

    def __call__(self, frame, size: tuple[int, int]) -> np.ndarray:
        """Convert a frame to uint8 [H, W, 3] of ``size`` (width, height)."""
        depth = max((c.bits for c in frame.format.components), default=8)
        transfer = HDR.get(int(frame.color_trc))
        if frame.format.has_palette or any(c.is_alpha for c in frame.format.components):
            return self._over_black(frame, size)
        if transfer is not None:
            self.note(f"{transfer} high dynamic range ({depth}-bit) mapped to 8-bit BT.709")
            if self._tone_map is None or self._tone_map.key != (size, transfer):
                self._tone_map = ToneMap(size, transfer)
            return self._tone_map(self._reformat(frame, "rgb48le", size))
        if depth > 8:
            self.note(f"{depth}-bit colour reduced to 8-bit")
        return self._reformat(frame, "rgb24", size).to_ndarray()

    def _reformat(self, frame, pixel_format, size):
        if frame.format.name == pixel_format and (frame.width, frame.height) == size:
            return frame
        full = frame.format.name.startswith("yuvj") or int(frame.color_range) == 2
        rgb = frame.format.is_rgb
        return self._reformatter.reformat(
            frame,
            width=size[0],
            height=size[1],
            format=pixel_format,
            src_colorspace=None if rgb else matrix_of(frame),
            dst_colorspace=None if rgb else matrix_of(frame),
            src_color_range=None if rgb else (ColorRange.JPEG if full else ColorRange.MPEG),
            dst_color_range=None if rgb else ColorRange.JPEG,
            interpolation=_QUALITY,
            threads=1,
        )

    def _over_black(self, frame, size):
        """Transparent parts over black, as players show them."""
        rgba = self._reformat(frame, "rgba", size).to_ndarray()
        image, alpha = rgba[..., :3], rgba[..., 3:]
        if alpha.min() == 255:
            return np.ascontiguousarray(image)
        self.note("transparency dropped: transparent parts are shown over black")
        return ((image.astype(np.uint16) * alpha + 127) // 255).astype(np.uint8)


def from_rgb(image, pixel_format: str, reformatter: VideoReformatter):
    """``uint8 [H, W, 3]`` RGB to a frame for the encoder, BT.709 limited range."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    return reformatter.reformat(
        frame,
        format=pixel_format,
        src_colorspace=Colorspace.ITU709,
        dst_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
        interpolation=_QUALITY,
        threads=1,
    )
