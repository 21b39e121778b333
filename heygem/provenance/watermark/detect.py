"""Detection of the watermark in a video that may have been re-encoded, scaled, cropped or mirrored.

Every frame is reduced to a small square of fine contrast. Its Fourier component over time at the
watermark's carrier frequency is a picture that holds only the watermark and whatever moved at that
rate. The detector correlates the pilot with that picture: as it is first, then mirrored, then
cropped, over all shifts at once. If the pilot is significant, the data chips are read with its
phase, weighted by the inverse noise at neighbouring frequencies, and decoded.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from heygem.core.types import FloatArray, Image
from heygem.provenance.watermark.codec import CODE_BITS, decode, encode
from heygem.provenance.watermark.embed import (
    CARRIER_HZ,
    DENSITIES,
    GRID,
    ChipLayout,
    chip_layout,
)

FINE = 3  # samples per chip, across and down
SIDE = GRID * FINE
WINDOW_S = 20.0  # longest duration that is analysed
BAR_LEVEL = 40  # pixels of black bars are darker
TOO_SHORT = "too short to read"
MIN_S = 0.8  # two periods of the carrier
MIN_PILOT_SIGMA = 4.0  # noise exceeds it about once in 3000 attempts
MIN_KNOWN_SIGMA = 6.5  # for a known id; chance: exp(-6.5**2 / 2), once in 1.5e9 attempts


@dataclass(frozen=True)
class Detection:
    """The result of a detection.

    `watermark_id` is None without a watermark; `pilot_sigma` and `data_sigma` are in standard
    deviations of chance; `transform` names what the copy has undergone, or why nothing was
    detected; `recognised` is true if the id was matched among known ones rather than decoded.
    """

    watermark_id: int | None
    pilot_sigma: float
    data_sigma: float
    transform: str
    recognised: bool = False


class WatermarkDetector:
    """Collects the frames of a clip, then detects its watermark.

    Parameters
    ----------
    secret
        `Keys.watermark_secret` of the installation that may have made the file.
    crop_bars
        Also look between black bars, if the first bright frame has any.
    """

    def __init__(self, secret: bytes, *, crop_bars: bool = True) -> None:
        self._secret = secret
        self._layouts = [chip_layout(secret, density) for density in DENSITIES]
        self._frames: list[NDArray[np.float16]] = []
        self._times_s: list[float] = []
        self._seeks_bars = crop_bars
        self._picture_area: tuple[slice, slice] | None = None  # between black bars
        self._inner: WatermarkDetector | None = None  # of that area

    def add(self, image: Image, time_s: float) -> None:
        """Add one frame, uint8 [H, W, 3], RGB, and its time."""
        grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
        if self._seeks_bars:
            area = _area_between_bars(grey)
            if area is not None:
                self._seeks_bars = False
                if area != (slice(0, grey.shape[0]), slice(0, grey.shape[1])):
                    self._picture_area = area
                    self._inner = WatermarkDetector(self._secret, crop_bars=False)
        if self._inner is not None and self._picture_area is not None:
            self._inner.add(image[self._picture_area], time_s)
        small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        fine = small - cv2.blur(small, (2 * FINE + 1, 2 * FINE + 1))
        self._frames.append(np.clip(fine, -12, 12).astype(np.float16))
        self._times_s.append(time_s)

    @property
    def span_s(self) -> float:
        """Time from the first to the last frame, seconds."""
        return self._times_s[-1] - self._times_s[0] if self._times_s else 0.0

    def detect(self, known_ids: Sequence[int] = (), *, search: bool = True) -> Detection:
        """Detect the watermark.

        Parameters
        ----------
        known_ids
            Ids that are recognised even if decoding fails.
        search
            Also search for crops, which takes some seconds.
        """
        best = Detection(None, 0.0, 0.0, "nothing found")
        if len(self._frames) < 4 or self.span_s < MIN_S:
            return Detection(None, 0.0, 0.0, TOO_SHORT)
        wave, noise = self._demodulate()
        for hypothesis in self._hypotheses(wave, noise, search):
            detection = _test(hypothesis, wave, noise, known_ids)
            if detection.watermark_id is not None:
                return detection
            if detection.pilot_sigma > best.pilot_sigma:
                best = detection
        if self._inner is not None:
            detection = self._inner.detect(known_ids, search=search)
            if detection.watermark_id is not None:
                return replace(detection, transform=f"{detection.transform}, between black bars")
        return best

    def _demodulate(self) -> tuple[NDArray[np.complex64], FloatArray]:
        """The component at the carrier, complex64 [SIDE, SIDE], and its noise power, float32."""
        times = np.asarray(self._times_s) - self._times_s[0]
        stack = np.stack(self._frames).astype(np.float32).reshape(len(times), -1)  # [T, SIDE^2]
        period = 1 / CARRIER_HZ
        span = times[-1] + np.median(np.diff(times))
        keep = times < max(np.floor(span / period), 1) * period + 1e-6
        times, stack = times[keep], stack[keep]
        # Slow changes of the picture are removed: a mean and a linear trend.
        design = np.stack([np.ones_like(times), times - times.mean()], 1)
        stack -= (design @ np.linalg.lstsq(design, stack, rcond=None)[0]).astype(np.float32)
        length = times[-1] + np.median(np.diff(times))
        wave = np.zeros(0, np.complex64)
        noise = np.zeros(stack.shape[1], np.float32)
        offsets = (0, -2, 2, 3)
        for k in offsets:
            rate = CARRIER_HZ + k / length
            kernel = np.exp(-2j * np.pi * rate * times).astype(np.complex64)
            part = (kernel.real @ stack) + 1j * (kernel.imag @ stack)
            if k == 0:
                wave = part
            else:
                noise += np.abs(part) ** 2 / (len(offsets) - 1)
        shape = (SIDE, SIDE)
        noise = cv2.blur(noise.reshape(shape), (4 * FINE + 1, 4 * FINE + 1))
        return wave.reshape(shape).astype(np.complex64), noise + 1e-3 * float(noise.mean()) + 1e-9

    def _hypotheses(
        self, wave: NDArray[np.complex64], noise: FloatArray, search: bool
    ) -> Iterator["_Hypothesis"]:
        for transform, is_mirrored in (("as made", False), ("mirrored", True)):
            for layout in self._layouts:
                yield _Hypothesis(transform, layout, (0.0, 0.0, 1.0, 1.0), is_mirrored)
        if search:
            white = (wave / np.sqrt(noise)).astype(np.complex64, copy=False)
            for is_mirrored in (False, True):
                picture = white[:, ::-1] if is_mirrored else white
                transform = "mirrored and cropped" if is_mirrored else "cropped"
                for layout, crop in self._likely_crops(picture):
                    yield _Hypothesis(transform, layout, crop, is_mirrored)

    def _likely_crops(
        self, white: NDArray[np.complex64], per_layout: int = 4
    ) -> Iterator[tuple[ChipLayout, tuple[float, float, float, float]]]:
        """The most likely crops of each layout, as (x, y, width, height) of the original."""
        padded = 2 ** int(np.ceil(np.log2(SIDE)))
        spectra = []
        for layout in self._layouts:
            template = np.zeros(GRID * GRID, np.float32)
            template[layout.pilot] = layout.sign[layout.pilot]
            enlarged = cv2.resize(
                template.reshape(GRID, GRID), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST
            )
            spectra.append(np.conj(np.fft.fft2(enlarged, (padded, padded))))
        candidates: list[list[tuple[float, ...]]] = [[] for _ in spectra]
        shares = np.arange(0.80, 1.0001, 0.01)
        for sy in shares:
            for sx in shares:
                w, h = round(SIDE * sx), round(SIDE * sy)
                real = cv2.resize(white.real, (w, h), interpolation=cv2.INTER_AREA)
                imag = cv2.resize(white.imag, (w, h), interpolation=cv2.INTER_AREA)
                # Both parts in one transform: the template is real.
                picture = np.fft.fft2(real + 1j * imag, (padded, padded))
                # The crop lies inside the original: negative shifts up to the cut margin.
                ys = -np.arange(0, SIDE - h + 1) % padded
                xs = -np.arange(0, SIDE - w + 1) % padded
                for places, spectrum in zip(candidates, spectra, strict=True):
                    inside = np.abs(np.fft.ifft2(picture * spectrum)[np.ix_(ys, xs)])
                    y, x = np.unravel_index(np.argmax(inside), inside.shape)
                    places.append((inside[y, x], x / SIDE, y / SIDE, w / SIDE, h / SIDE))
        for layout, places in zip(self._layouts, candidates, strict=True):
            places.sort(reverse=True)
            yield from ((layout, (x, y, w, h)) for _, x, y, w, h in places[:per_layout])


@dataclass(frozen=True)
class _Hypothesis:
    """A transform that the copy may have undergone; `crop` is (x, y, width, height), 0..1."""

    transform: str
    layout: ChipLayout
    crop: tuple[float, float, float, float]
    is_mirrored: bool


def _test(
    hypothesis: _Hypothesis,
    wave: NDArray[np.complex64],
    noise: FloatArray,
    known_ids: Sequence[int],
) -> Detection:
    """Decode the watermark under a hypothesis, or recognise one of the known ids."""
    layout, transform = hypothesis.layout, hypothesis.transform
    if hypothesis.is_mirrored:
        wave, noise = wave[:, ::-1], noise[:, ::-1]
    value, weight = _chip_values(wave, noise, *hypothesis.crop)
    signed = value * layout.sign
    pilot = layout.pilot
    total = np.sum((signed * weight)[pilot])
    spread = np.sqrt(np.sum((np.abs(value) ** 2 * weight**2)[pilot]) / 2) + 1e-12
    sigma = float(np.abs(total) / spread)
    if sigma >= MIN_PILOT_SIGMA:
        real = np.real(signed * np.exp(-1j * np.angle(total))) * weight
        soft = np.bincount(layout.bit, real[layout.data], CODE_BITS).astype(np.float32)
        watermark_id = decode(soft)
        if watermark_id is not None:
            data_sigma = _data_sigma(signed * weight, layout, watermark_id)
            return Detection(watermark_id, sigma, data_sigma, transform)
    # Too weak to be decoded: one of a few known patterns may still be significant as a whole.
    for candidate in known_ids:
        data_sigma = _data_sigma(signed * weight, layout, candidate)
        if data_sigma > MIN_KNOWN_SIGMA:
            return Detection(candidate, sigma, data_sigma, transform, recognised=True)
    return Detection(None, sigma, 0.0, transform)


def _area_between_bars(grey: NDArray[np.uint8]) -> tuple[slice, slice] | None:
    """Rows and columns between black bars, all of them without bars; None in a dark frame."""
    spans = []
    for axis in (1, 0):
        lit = np.flatnonzero(grey.max(axis) > BAR_LEVEL)
        if len(lit) < grey.shape[1 - axis] / 5:
            return None  # perhaps a fade-in: decided at a later frame
        spans.append(slice(int(lit[0]), int(lit[-1]) + 1))
    return spans[0], spans[1]


def _data_sigma(signed: NDArray[np.complex64], layout: ChipLayout, watermark_id: int) -> float:
    """Significance of an id's data chips, in sigma, at any phase.

    The pilot is left out: a crop is selected by its pilot, which would then count twice.
    """
    data = signed[layout.data]
    total = np.abs(np.sum(data * encode(watermark_id)[layout.bit]))
    return float(total / (np.sqrt(np.sum(np.abs(data) ** 2) / 2) + 1e-12))


def _chip_values(
    wave: NDArray[np.complex64], noise: FloatArray, x: float, y: float, w: float, h: float
) -> tuple[NDArray[np.complexfloating], FloatArray]:
    """Values and weights of the chips, [GRID * GRID], from a crop of the original.

    Chips outside the crop get weight 0.
    """
    # Chip space -> picture: the picture spans x .. x + w of the original.
    scale = np.array([[1 / w, 0, 0], [0, 1 / h, 0]], np.float64)
    scale[0, 2] = -x / w * SIDE + (1 / w - 1) / 2
    scale[1, 2] = -y / h * SIDE + (1 / h - 1) / 2
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

    def resample(a: FloatArray) -> FloatArray:
        full = cv2.warpAffine(np.ascontiguousarray(a), scale, (SIDE, SIDE), flags=flags)
        return full.reshape(GRID, FINE, GRID, FINE)[:, 0:FINE, :, 0:FINE].mean((1, 3)).reshape(-1)

    inside = resample(np.ones((SIDE, SIDE), np.float32))
    value = resample(wave.real) + 1j * resample(wave.imag)
    power = resample(noise)
    floor = np.median(power[inside > 0.5]) * 0.1 if (inside > 0.5).any() else 1.0
    weight = np.where(inside > 0.5, 1 / (power + floor), 0).astype(np.float32)
    # A chip far above the noise around it is something that moved: its value is limited.
    level = np.sqrt(power + floor) * 2.5
    size = np.abs(value)
    value = value * np.minimum(1, level / (size + 1e-9))
    return value, weight
