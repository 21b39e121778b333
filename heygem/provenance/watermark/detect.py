"""Finding the invisible mark in a video that may have been through a lot.

Every frame is brought to a small square of fine contrast; over time, its component at the mark's
carrier is a picture in which only the mark and what happened to move at that rate remain. The
pilot is looked for in that picture: as it is first, then mirrored, then cropped, by correlation
over all shifts at once. Where it stands out, the data chips are read with its phase, weighted by
how quiet their place was at neighbouring rates, and decoded.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from heygem.provenance.watermark.codec import CODE_BITS, decode, encode
from heygem.provenance.watermark.embed import CARRIER_HZ, GRID, LAYOUTS, chips

FINE = 3  # samples a chip, across and down
SIDE = GRID * FINE
WINDOW_S = 20.0  # longest stretch read at once
BAR_LEVEL = 40  # grey level that no pixel of a black bar reaches
MIN_S = 0.8  # two periods of the carrier
PILOT_FLOOR = 4.0  # sigma; noise passes it about once in 3000 tries
KNOWN_FLOOR = 6.5  # sigma for an id we know; chance: exp(-6.5**2 / 2), once in 1.5e9 tries


@dataclass(frozen=True)
class MarkReading:
    """What was found.

    `mark_id` is None where nothing was; `pilot` and `data` are in standard deviations of chance;
    `how` says what the copy had been through; `by_ledger` that the id was recognised among known
    ones rather than decoded.
    """

    mark_id: int | None
    pilot: float
    data: float
    how: str
    by_ledger: bool = False


class WatermarkReader:
    """Collects frames, then looks for a mark.

    Parameters
    ----------
    secret : bytes
        `Keys.mark_secret` of the installation that may have made the file.
    """

    def __init__(self, secret):
        self._secret = secret
        self._layouts = [chips(secret, share) for share in LAYOUTS]
        self._frames = []
        self._times_s = []
        self._inside = None  # a reader of what lies between black bars
        self._between = None  # where that is; False once there are known to be none

    def add(self, image, time_s):
        """Take one frame: `uint8 [H, W, 3]`, RGB."""
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if self._between is None:
            self._between = _between_bars(grey)
            if self._between:
                self._inside = WatermarkReader(self._secret)
                self._inside._between = False  # bars within bars are picture
        if self._inside is not None:
            self._inside.add(image[self._between], time_s)
        small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        fine = small - cv2.blur(small, (2 * FINE + 1, 2 * FINE + 1))
        self._frames.append(np.clip(fine, -12, 12).astype(np.float16))
        self._times_s.append(time_s)

    @property
    def span_s(self):
        return self._times_s[-1] - self._times_s[0] if self._times_s else 0.0

    def read(self, known=(), *, search=True):
        """Look for the mark.

        Parameters
        ----------
        known : sequence of int
            Ids that may be recognised where decoding fails.
        search : bool
            Also try crops: takes seconds more.

        Returns
        -------
        MarkReading
        """
        best = MarkReading(None, 0.0, 0.0, "nothing found")
        if len(self._frames) < 4 or self.span_s < MIN_S:
            return MarkReading(None, 0.0, 0.0, "too short to read")
        wave, noise = self._carrier()
        for how, layout, geometry in self._guesses(wave, noise, search):
            reading = self._read_at(wave, noise, how, layout, geometry, known)
            if reading.mark_id is not None:
                return reading
            if reading.pilot > best.pilot:
                best = reading
        if self._inside is not None:
            reading = self._inside.read(known, search=search)
            if reading.mark_id is not None:
                return replace(reading, how=f"{reading.how}, between black bars")
        return best

    def _carrier(self):
        """The component at the carrier, complex64 [SIDE, SIDE], and its noise power, float32."""
        times = np.asarray(self._times_s) - self._times_s[0]
        stack = np.stack(self._frames).astype(np.float32).reshape(len(times), -1)  # [T, SIDE^2]
        period = 1 / CARRIER_HZ
        span = times[-1] + np.median(np.diff(times))
        keep = times < max(np.floor(span / period), 1) * period + 1e-6
        times, stack = times[keep], stack[keep]
        # What the picture does slowly is taken away by a straight line and a mean.
        design = np.stack([np.ones_like(times), times - times.mean()], 1)
        stack -= (design @ np.linalg.lstsq(design, stack, rcond=None)[0]).astype(np.float32)
        length = times[-1] + np.median(np.diff(times))
        wave = None
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

    def _guesses(self, wave, noise, search):
        for how, flipped in (("as made", False), ("mirrored", True)):
            for layout in self._layouts:
                yield how, layout, (0.0, 0.0, 1.0, 1.0, flipped)
        if search:
            white = wave / np.sqrt(noise)
            for flipped in (False, True):
                picture = white[:, ::-1] if flipped else white
                for layout, place in self._crops(picture):
                    how = "mirrored and cropped" if flipped else "cropped"
                    yield how, layout, (*place, flipped)

    def _crops(self, white, tries=4):
        """The likeliest (layout, (x, y, width, height) of the original) for each layout."""
        room = 2 ** int(np.ceil(np.log2(SIDE)))
        spectra = []
        for layout in self._layouts:
            template = np.zeros(GRID * GRID, np.float32)
            template[layout.pilot] = layout.sign[layout.pilot]
            template = cv2.resize(
                template.reshape(GRID, GRID), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST
            )
            spectra.append(np.conj(np.fft.fft2(template, (room, room))))
        found = [[] for _ in spectra]
        shares = np.arange(0.80, 1.0001, 0.01)
        for sy in shares:
            for sx in shares:
                w, h = round(SIDE * sx), round(SIDE * sy)
                real = cv2.resize(white.real, (w, h), interpolation=cv2.INTER_AREA)
                imag = cv2.resize(white.imag, (w, h), interpolation=cv2.INTER_AREA)
                # Both parts in one transform: the template is real.
                picture = np.fft.fft2(real + 1j * imag, (room, room))
                # The crop lies inside: shifts from 0 to what was cut away, as negative lags.
                ys = -np.arange(0, SIDE - h + 1) % room
                xs = -np.arange(0, SIDE - w + 1) % room
                for places, spectrum in zip(found, spectra, strict=True):
                    inside = np.abs(np.fft.ifft2(picture * spectrum)[np.ix_(ys, xs)])
                    y, x = np.unravel_index(np.argmax(inside), inside.shape)
                    places.append((inside[y, x], x / SIDE, y / SIDE, w / SIDE, h / SIDE))
        for layout, places in zip(self._layouts, found, strict=True):
            places.sort(reverse=True)
            yield from ((layout, place[1:]) for place in places[:tries])

    def _read_at(self, wave, noise, how, layout, geometry, known):
        x, y, w, h, flipped = geometry
        if flipped:
            wave, noise = wave[:, ::-1], noise[:, ::-1]
        value, weight, inside = _to_chips(wave, noise, x, y, w, h)
        signed = value * layout.sign
        pilot = layout.pilot
        total = np.sum((signed * weight)[pilot])
        spread = np.sqrt(np.sum((np.abs(value) ** 2 * weight**2)[pilot]) / 2) + 1e-12
        sigma = float(np.abs(total) / spread)
        if sigma >= PILOT_FLOOR:
            real = np.real(signed * np.exp(-1j * np.angle(total))) * weight
            soft = np.bincount(layout.bit, real[layout.data], CODE_BITS).astype(np.float32)
            mark_id = decode(soft)
            if mark_id is not None:
                strength = _strength(signed * weight, layout, mark_id)
                return MarkReading(mark_id, sigma, strength, how)
        # Too weak to be decoded: one of a few known patterns may still stand out as a whole.
        for candidate in known:
            strength = _strength(signed * weight, layout, candidate)
            if strength > KNOWN_FLOOR:
                return MarkReading(candidate, sigma, strength, how, by_ledger=True)
        return MarkReading(None, sigma, 0.0, how)


def _between_bars(grey):
    """Rows and columns between black bars; False where there are none, None in a dark frame."""
    kept = []
    for axis in (1, 0):
        lit = np.flatnonzero(grey.max(axis) > BAR_LEVEL)
        if len(lit) < grey.shape[1 - axis] / 5:
            return None  # fading in, perhaps: the next frame may tell
        kept.append(slice(int(lit[0]), int(lit[-1]) + 1))
    whole = kept[0] == slice(0, grey.shape[0]) and kept[1] == slice(0, grey.shape[1])
    return False if whole else tuple(kept)


def _strength(signed, layout, mark_id):
    """How far an id's data chips stand out of chance, in sigma; phase left open.

    The pilot has no say: a crop is chosen for its pilot, which would then count twice.
    """
    data = signed[layout.data]
    total = np.abs(np.sum(data * encode(mark_id)[layout.bit]))
    return float(total / (np.sqrt(np.sum(np.abs(data) ** 2) / 2) + 1e-12))


def _to_chips(wave, noise, x, y, w, h):
    """Values and weights of the chips, [GRID * GRID], from a picture that shows part of them."""
    # Chip space -> picture: the picture spans x .. x + w of the original.
    scale = np.array([[1 / w, 0, 0], [0, 1 / h, 0]], np.float64)
    scale[0, 2] = -x / w * SIDE + (1 / w - 1) / 2
    scale[1, 2] = -y / h * SIDE + (1 / h - 1) / 2
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

    def bring(a):
        full = cv2.warpAffine(np.ascontiguousarray(a), scale, (SIDE, SIDE), flags=flags)
        return full.reshape(GRID, FINE, GRID, FINE)[:, 0:FINE, :, 0:FINE].mean((1, 3)).reshape(-1)

    inside = bring(np.ones((SIDE, SIDE), np.float32))
    value = bring(wave.real) + 1j * bring(wave.imag)
    power = bring(noise)
    floor = np.median(power[inside > 0.5]) * 0.1 if (inside > 0.5).any() else 1.0
    weight = np.where(inside > 0.5, 1 / (power + floor), 0).astype(np.float32)
    # A chip far outside what its surroundings do is something that moved: its say is bounded.
    level = np.sqrt(power + floor) * 2.5
    size = np.abs(value)
    value = value * np.minimum(1, level / (size + 1e-9))
    return value, weight, inside
