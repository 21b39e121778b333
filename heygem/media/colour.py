"""Conversion of decoded frames to 8-bit RGB and back, with the correct colour matrix and range.

A video that does not name its matrix is decoded with a guess, and readers guess differently: by its
size, or always BT.601. What is written from it is coded with the same matrix and says as little, so
that every reader is as right or wrong about the new video as about the source.
"""

from dataclasses import dataclass, replace

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from heygem.core.types import FloatArray, Image
from heygem.media.hdr import ToneMap

#: swscale's default samples chroma by nearest neighbour with rounding errors up to 3 levels; these
#: flags interpolate it and round correctly.
_QUALITY = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
HDR_TRANSFERS = {16: "PQ", 18: "HLG"}  # AVCOL_TRC_SMPTE2084, AVCOL_TRC_ARIB_STD_B67
_UNSPECIFIED = 2  # in AVCOL_SPC_*, AVCOL_PRI_* and AVCOL_TRC_*
_SMPTE170M, _BT709 = 6, 1  # likewise
_MATRICES = {  # AVCOL_SPC_*
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}

_KR_KB = {
    Colorspace.ITU709: (0.2126, 0.0722),
    Colorspace.BT2020: (0.2627, 0.0593),
    Colorspace.SMPTE240M: (0.212, 0.087),
    Colorspace.FCC: (0.30, 0.11),
}


def ycbcr_matrix(frame: av.VideoFrame) -> Colorspace:
    """The YCbCr matrix of a frame: its tag, else BT.601 below HD and BT.709 from HD up.

    Players assume the same for an untagged video (ITU-R BT.601, BT.709; mpv's rule).
    """
    tagged = _MATRICES.get(int(frame.colorspace))
    return tagged if tagged is not None else usual_matrix(frame.width, frame.height)


def usual_matrix(width: int, height: int) -> Colorspace:
    """The YCbCr matrix that players assume for an untagged video of this size in pixels."""
    hd = width >= 1280 or height > 576
    return Colorspace.ITU709 if hd else Colorspace.ITU601


@dataclass(frozen=True)
class ColourCoding:
    """How a video codes RGB, and what its header says about it.

    Attributes
    ----------
    matrix : Colorspace
        YCbCr matrix; the range is always limited (16..235).
    space, primaries, transfer : int
        Tags: AVCOL_SPC_*, AVCOL_PRI_*, AVCOL_TRC_*; 2 says nothing.
    range_tag : int
        AVCOL_RANGE_*: 1 is limited; 0 says nothing, which means the same.
    """

    matrix: Colorspace = Colorspace.ITU709
    space: int = _BT709
    primaries: int = _BT709
    transfer: int = _BT709
    range_tag: int = 1

    def for_size(self, width: int, height: int) -> "ColourCoding":
        """The same coding for another size: named where players would now assume another one."""
        if self.space != _UNSPECIFIED or usual_matrix(width, height) == self.matrix:
            return self
        return replace(self, space=_name(self.matrix))


BT709 = ColourCoding()


def coding_of(frame: av.VideoFrame) -> ColourCoding:
    """How to code what `RgbConverter` makes of a frame, so that all readers see the same again.

    High dynamic range becomes BT.709. RGB has no coding of its own and takes the usual one for its
    size, by name. Other videos keep their matrix and their tags, or their lack of tags.
    """
    if int(frame.color_trc) in HDR_TRANSFERS:
        return BT709
    if frame.format.is_rgb or frame.format.has_palette:
        matrix = usual_matrix(frame.width, frame.height)
        return ColourCoding(matrix, _name(matrix))
    matrix, space = ycbcr_matrix(frame), int(frame.colorspace)
    if space not in (_UNSPECIFIED, *_MATRICES):  # a rare one, decoded as if it were the usual one
        space = _name(matrix)
    range_tag = 1 if int(frame.color_range) else 0
    return ColourCoding(matrix, space, int(frame.color_primaries), int(frame.color_trc), range_tag)


def ycbcr_factors(matrix: Colorspace) -> FloatArray:
    """Y - 16, Cb - 128 and Cr - 128 (rows) of R, G and B, limited range : float32 [3, 3].

    Kr and Kb are those of ITU-R BT.601, BT.709, BT.2020, SMPTE 240M and FCC.
    """
    kr, kb = _KR_KB.get(matrix, (0.299, 0.114))
    grey = np.array([kr, 1 - kr - kb, kb])
    blue = (np.array([0, 0, 1]) - grey) / (2 * (1 - kb))
    red = (np.array([1, 0, 0]) - grey) / (2 * (1 - kr))
    return np.stack([grey * 219, blue * 224, red * 224]).astype(np.float32) / np.float32(255)


def rgb_factors(matrix: Colorspace) -> FloatArray:
    """What makes R, G and B : float32 [5], of Y - 16 in all, Cr in R, Cb and Cr in G, Cb in B."""
    inverse = np.linalg.inv(ycbcr_factors(matrix).astype(np.float64))
    return np.array(
        [inverse[0, 0], inverse[0, 2], inverse[1, 1], inverse[1, 2], inverse[2, 1]], np.float32
    )


def grey_factors(matrix: Colorspace) -> FloatArray:
    """Of Y - 16, Cb - 128 and Cr - 128 in the grey of RGB, as OpenCV computes it : float64 [3]."""
    return np.array([0.299, 0.587, 0.114]) @ np.linalg.inv(ycbcr_factors(matrix).astype(np.float64))


def _name(matrix: Colorspace) -> int:
    """AVCOL_SPC_* of one of the two usual matrices."""
    return _BT709 if matrix == Colorspace.ITU709 else _SMPTE170M


def plane_values(plane: av.video.plane.VideoPlane) -> Image:
    """A view of an 8-bit plane : uint8 [h, w]."""
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: plane.height, : plane.width]


class RgbConverter:
    """Converts decoded frames to ``uint8 [H, W, 3]`` RGB; ``notes`` lists what was lost."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._reformatter = VideoReformatter()
        self._tone_map: ToneMap | None = None

    def note(self, text: str) -> None:
        """Add to ``notes``, once."""
        if text not in self.notes:
            self.notes.append(text)

    def __call__(self, frame: av.VideoFrame, size: tuple[int, int]) -> Image:
        """Convert a frame to uint8 [H, W, 3] of ``size`` (width, height)."""
        depth = max((c.bits for c in frame.format.components), default=8)
        transfer = HDR_TRANSFERS.get(int(frame.color_trc))
        if frame.format.has_palette or any(c.is_alpha for c in frame.format.components):
            return self._over_black(frame, size)
        if transfer is not None:
            self.note(f"{transfer} high dynamic range ({depth}-bit) mapped to 8-bit BT.709")
            if self._tone_map is None or self._tone_map.key != (size, transfer):
                self._tone_map = ToneMap(size, transfer)
            return self._tone_map(self._reformat(frame, "rgb48le", size))
        if depth > 8:
            self.note(f"{depth}-bit colour reduced to 8-bit")
        if frame.format.is_rgb:
            return np.asarray(self._reformat(frame, "rgb24", size).to_ndarray(), np.uint8)
        # The same values in two fifths of the time: swscale has vector code for planes alone.
        planes = self._reformat(frame, "gbrp", size).planes
        green, blue, red = (plane_values(plane) for plane in planes)
        return np.asarray(cv2.merge([red, green, blue]), np.uint8)

    def _reformat(
        self, frame: av.VideoFrame, pixel_format: str, size: tuple[int, int]
    ) -> av.VideoFrame:
        if frame.format.name == pixel_format and (frame.width, frame.height) == size:
            return frame
        full = frame.format.name.startswith("yuvj") or int(frame.color_range) == 2
        rgb = frame.format.is_rgb
        return self._reformatter.reformat(
            frame,
            width=size[0],
            height=size[1],
            format=pixel_format,
            src_colorspace=None if rgb else ycbcr_matrix(frame),
            dst_colorspace=None if rgb else ycbcr_matrix(frame),
            src_color_range=None if rgb else (ColorRange.JPEG if full else ColorRange.MPEG),
            dst_color_range=None if rgb else ColorRange.JPEG,
            interpolation=_QUALITY,
            threads=1,
        )

    def _over_black(self, frame: av.VideoFrame, size: tuple[int, int]) -> Image:
        """Composite transparent parts over black, as players do."""
        rgba = self._reformat(frame, "rgba", size).to_ndarray()
        image, alpha = rgba[..., :3], rgba[..., 3:]
        if alpha.min() == 255:
            return np.ascontiguousarray(image)
        self.note("transparency dropped: transparent parts are shown over black")
        return ((image.astype(np.uint16) * alpha + 127) // 255).astype(np.uint8)


def rgb_to_frame(
    image: Image, pixel_format: str, reformatter: VideoReformatter, coding: ColourCoding
) -> av.VideoFrame:
    """Convert ``uint8 [H, W, 3]`` RGB to a frame for the encoder, limited range."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    return reformatter.reformat(
        frame,
        format=pixel_format,
        src_colorspace=coding.matrix,
        dst_colorspace=coding.matrix,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
        interpolation=_QUALITY,
        threads=1,
    )
