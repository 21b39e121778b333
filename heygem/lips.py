"""Speech to mouth movement, and the knobs on it.

A temporal network reads log-mel spectra and recognised phones, and says how the lower face is
displaced from the person's neutral mouth, 50 times a second, as coefficients of a basis of mesh
displacements in the canonical face frame. It never sees pixels, so nothing of the source video's
own speech can leak in, and what comes out can be plotted, edited and compared.

The answer is the mean of a few networks trained on different speakers: their errors differ more
than their answers do.
"""

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from heygem import audio
from heygem.errors import AssetError
from heygem.face import topology as topo
from heygem.face.geometry import LOWER
from heygem.hearing import features, level, silence
from heygem.network import LipsNetwork
from heygem.pauses import speech_gate

RATE_HZ = 50.0
CHUNK_S = 20.0  # predicted at once; longer audio is cut, so memory does not grow with length
CONTEXT_S = 1.0  # on both sides of a chunk; more than the network's reach, so cuts do not show
CLOSED_SHARE = 0.1  # of speech at least has its lips shut
DEEPEST_PRESS = 0.05  # what never comes nearer to shut is not made to [eye distances]
SHIPPED = Path(__file__).parent / "weights" / "lips.safetensors"
FORMAT = "heygem-lips-3"  # 2: spectra as they are

_PLACE = {int(point): i for i, point in enumerate(LOWER)}
_MIDDLE_UPPER, _MIDDLE_LOWER = (_PLACE[i] for i in topo.LIP_MIDDLE)
_CORNERS = tuple(_PLACE[i] for i in topo.MOUTH_CORNERS)
_INNER_UPPER = np.array([_PLACE[i] for i in topo.INNER_UPPER])
_INNER_LOWER = np.array([_PLACE[i] for i in topo.INNER_LOWER])


@dataclass(frozen=True)
class Trajectory:
    """How a mouth moves.

    Attributes
    ----------
    coefficients : float32 [N, K]
        Weights of the basis; 1 is the standard deviation over the speakers of the training set.
    rate_hz : float
        Rows per second; row 0 is at 0 s of the audio.
    basis : float32 [K, len(LOWER), 3]
        Displacement of each point of the lower face, in eye distances.
    """

    coefficients: np.ndarray
    rate_hz: float
    basis: np.ndarray

    def __len__(self):
        return len(self.coefficients)

    @property
    def duration_s(self):
        return len(self) / self.rate_hz

    @property
    def times_s(self):
        """Time of each row : float64 [N]."""
        return np.arange(len(self)) / self.rate_hz

    def coefficients_at(self, times_s):
        """Coefficients at any times, held at the ends : float32 [T, K]."""
        times_s = np.asarray(times_s, np.float64)
        own = self.times_s
        columns = [np.interp(times_s, own, column) for column in self.coefficients.T]
        return np.stack(columns, -1).astype(np.float32)

    def at(self, times_s, rest=None):
        """Displacement from the neutral mouth at any times.

        Parameters
        ----------
        times_s : float [T]
            A frame's own time, never its index over a rate.
        rest : float32 [len(LOWER), 3] or [T, len(LOWER), 3], optional
            The neutral mouth. With it, lips that would pass through each other meet instead.

        Returns
        -------
        float32 [T, len(LOWER), 3]
            In eye distances.
        """
        moved = np.einsum("tk,knd->tnd", self.coefficients_at(times_s), self.basis)
        return moved if rest is None else _meet(moved, np.asarray(rest, np.float32))

    def aperture(self):
        """Change of the gap between the inner lips on the mid-line : float32 [N], eye distances."""
        return self.coefficients @ aperture_direction(self.basis)

    def width(self):
        """Change of the distance of the mouth corners : float32 [N], eye distances."""
        return self.coefficients @ width_direction(self.basis)


def aperture_direction(basis):
    """What one unit of each coefficient adds to the lips' gap : float32 [K]."""
    return basis[:, _MIDDLE_LOWER, 1] - basis[:, _MIDDLE_UPPER, 1]


def width_direction(basis):
    """What one unit of each coefficient adds to the mouth's width : float32 [K]."""
    return basis[:, _CORNERS[1], 0] - basis[:, _CORNERS[0], 0]


def aperture_of(displacement):
    """Change of the lips' gap, `[..., len(LOWER), 3]` to `[...]`, in eye distances."""
    return displacement[..., _MIDDLE_LOWER, 1] - displacement[..., _MIDDLE_UPPER, 1]


def width_of(displacement):
    """Change of the mouth's width, `[..., len(LOWER), 3]` to `[...]`, in eye distances."""
    return displacement[..., _CORNERS[1], 0] - displacement[..., _CORNERS[0], 0]


def _meet(displacement, rest):
    """Stop lips at contact: where the gap would be negative, both meet in the middle of it."""
    shape = rest + displacement
    gap = shape[:, _INNER_LOWER, 1] - shape[:, _INNER_UPPER, 1]
    # A mesh may show a rest mouth slightly crossed already; it is not opened by this.
    floor = np.minimum(rest[..., _INNER_LOWER, 1] - rest[..., _INNER_UPPER, 1], 0)
    short = np.maximum(floor - gap, 0) / 2
    inside = slice(1, -1)  # the corners are one point of both lips
    out = displacement.copy()
    out[:, _INNER_UPPER[inside], 1] -= short[:, inside]
    out[:, _INNER_LOWER[inside], 1] += short[:, inside]
    return out


class LipsModel:
    """A trained audio-to-mouth model.

    Attributes
    ----------
    networks : list of LipsNetwork
    basis : float32 [K, len(LOWER), 3]
    gain : float32 [K]
        Makes the spread of the answers that of real mouths (a network alone under-opens).
    about : dict
        What the file says of itself: sources, speakers, hours, licence, metrics.
    ears : heygem.ears.Ears or None
        What it hears with beside `HEARD`.
    """

    def __init__(self, networks, basis, gain, about, *, device="cpu", ears=None):
        self.networks = [n.to(device).eval() for n in networks]
        self.basis = np.asarray(basis, np.float32)
        self.gain = np.asarray(gain, np.float32)
        self.about = about
        self.device = device
        self.ears = ears

    @classmethod
    def load(cls, path=None, *, device="cpu"):
        """Read a model file; default: the one that comes with the kit.

        Raises
        ------
        AssetError
            The file is missing, or is not a lips model; or the ears it was trained with are.
        """
        from safetensors import SafetensorError, safe_open

        path = Path(path) if path is not None else SHIPPED
        try:
            with safe_open(path, framework="pt") as f:
                meta = f.metadata() or {}
                tensors = {key: f.get_tensor(key) for key in f.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise AssetError(
                f"cannot read the lips model {path}",
                seen=str(error),
                remedy="give a .safetensors file made by `heygem train lips`",
            ) from error
        if meta.get("format") not in (FORMAT, "heygem-lips-2"):
            raise AssetError(
                f"{path} is not a lips model",
                seen=f"format {meta.get('format')!r}",
                remedy=f"give a file of format {FORMAT!r}, made by `heygem train lips`",
            )
        shape = {"level": False} | json.loads(meta["network"])
        networks = []
        for i in range(int(meta["networks"])):
            network = LipsNetwork(**shape)
            prefix = f"network{i}."
            network.load_state_dict(
                {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
            )
            networks.append(network)
        basis = tensors["basis"].numpy()
        if basis.shape[1:] != (len(LOWER), 3):
            raise AssetError(
                f"{path} moves other points than this version does",
                seen=f"{basis.shape[1]} points, {len(LOWER)} wanted",
                remedy="train it again with `heygem train lips`",
            )
        about = json.loads(meta.get("about", "{}"))
        ears = None
        if "ears" in meta:
            from heygem.ears import of_model

            ears = of_model(json.loads(meta["ears"]), path, device=device)
        return cls(networks, basis, tensors["gain"].numpy(), about, device=device, ears=ears)

    @cached_property
    def opening_std(self):
        """Spread of a typical speaker's lip gap in speech, in eye distances."""
        return float(self.about.get("opening_std", 0.03))

    def predict(self, samples_16k):
        """Mouth movement for speech of any length.

        Parameters
        ----------
        samples_16k : float32 [n]
            Mono, 16 kHz, -1..1.

        Returns
        -------
        Trajectory
            One row per 20 ms, `ceil(n / 320)` rows.
        """
        samples = np.asarray(samples_16k, np.float32)
        rows = -(-len(samples) // int(audio.RATE_HZ / RATE_HZ))
        return self.predict_features(features(samples, rows=rows, ears=self.ears))

    def predict_features(self, heard):
        """Mouth movement for `features`, float32 [2 N, inputs] : Trajectory of N rows."""
        rows = len(heard) // 2
        out = np.zeros((rows, len(self.basis)), np.float32)
        step, context = int(CHUNK_S * RATE_HZ), int(CONTEXT_S * RATE_HZ)
        heard = self.framed(heard, context)
        for start in range(0, rows, step):
            stop = min(start + step, rows)
            said = self._network_mean(heard[2 * start : 2 * (stop + 2 * context)])
            out[start:stop] = said[context : context + stop - start]
        return Trajectory(out, RATE_HZ, self.basis)

    def framed(self, heard, rows):
        """What `LipsNetwork.answer` is given: silence before and after, and spectra levelled.

        Parameters
        ----------
        heard : float32 [2 N, inputs]
            `features`.
        rows : int
            Silence at each end: before the first and after the last sound there is silence, not
            the edge of a tensor.

        Returns
        -------
        float32 [2 (N + 2 rows), inputs], tensor
        """
        edge = torch.from_numpy(silence(self.ears)).repeat(2 * rows, 1)
        heard = torch.from_numpy(np.ascontiguousarray(heard, np.float32))
        whole = torch.cat([edge, heard, edge])
        return level(whole, like=heard) if self.networks[0].level else whole

    @torch.inference_mode()
    def _network_mean(self, heard):
        x = heard[None].to(self.device)
        mean = torch.stack([n.answer(x) for n in self.networks]).mean(0)[0]
        return mean.float().cpu().numpy() * self.gain


def shape(trajectory, knobs, voice=None, *, opening_scale=1.0):
    """Apply the knobs; every one is exact and takes no time.

    Parameters
    ----------
    trajectory : Trajectory
    knobs : heygem.params.LipsSettings
        `openness_gain` and `width_gain` scale the lips' gap and the mouth's width, each leaving
        the other as it is; `closure` shuts the narrowest tenth of speech; `smoothing_ms` is the
        full width at half height of a zero-phase Gaussian; `silence_gate` rests the mouth where
        nobody speaks, over `fade_ms`; `offset_ms` is how much later the mouth comes than the sound.
    voice : float32 [M], optional
        Voice activity, 0..1 at 100 Hz. Without it the gate is not applied.
    opening_scale : float
        How far this person opens the mouth, over what the model's typical speaker does.

    Returns
    -------
    Trajectory
    """
    c = np.array(trajectory.coefficients, np.float32) * np.float32(opening_scale)
    rate = trajectory.rate_hz
    measures = np.stack([aperture_direction(trajectory.basis), width_direction(trajectory.basis)])
    # The smallest change of all coefficients that changes one measure and not the other.
    moves = np.linalg.pinv(measures)  # [K, 2]
    more = np.array([knobs.openness_gain - 1, knobs.width_gain - 1], np.float32)
    c += (((c @ measures.T) * more) @ moves.T).astype(np.float32)
    if knobs.closure > 0 and len(c):
        press = knobs.closure * _press(c @ measures[0], rate, voice)
        c -= (press[:, None] * moves[:, 0]).astype(np.float32)
    if knobs.smoothing_ms > 0 and len(c):
        sigma = knobs.smoothing_ms / 1000 * rate / 2.3548  # full width at half height
        c = gaussian_filter1d(c, sigma, axis=0, mode="nearest")
    if knobs.silence_gate and voice is not None and len(c):
        open_share = speech_gate(
            voice, rows=len(c), rate_hz=rate, threshold=knobs.silence_threshold,
            fade_ms=knobs.fade_ms,
        )  # fmt: skip
        c = c * open_share[:, None]
    shaped = replace(trajectory, coefficients=c)
    if knobs.offset_ms:
        shaped = replace(
            shaped,
            coefficients=shaped.coefficients_at(trajectory.times_s - knobs.offset_ms / 1000),
        )
    return shaped


def _press(gap, rate_hz, voice):
    """How far each gap has to go for the narrowest tenth of speech to be shut : float [N].

    Real lips are shut in a sixth of the frames of speech. A network's answer is a mean over what
    the sound leaves open, which is never quite shut, and its gain lifts it further. Fades out
    upwards: open mouths stay as open.
    """
    speech = np.ones(len(gap), bool)
    if voice is not None and len(voice):
        when = np.minimum(np.arange(len(gap)) * audio.FRAME_HZ / rate_hz, len(voice) - 1)
        speech = np.asarray(voice)[when.astype(int)] > 0.5
    if not speech.any():
        return np.zeros(len(gap))
    # A held vowel has no closures: what does not vary is not pressed.
    most = min(DEEPEST_PRESS, float(gap[speech].std()))
    depth = max(min(float(np.quantile(gap[speech], CLOSED_SHARE)), most), 1e-6)
    fade = np.exp(-np.square(np.maximum(gap - depth, 0) / (2 * depth)) / 2)
    return np.minimum(np.maximum(gap, 0), depth * fade)


def within_reach(trajectory, widest):
    """Keep a mouth from opening further than this person does.

    Parameters
    ----------
    trajectory : Trajectory
    widest : float
        Widest change of the lip gap the person was seen with, in eye distances.

    Returns
    -------
    Trajectory
        Openings up to three quarters of `widest` are untouched; what lies beyond is bent towards
        it (tanh), the whole mouth shape in proportion.
    """
    gap = trajectory.aperture()
    knee = 0.75 * widest
    over = np.maximum(gap - knee, 0)
    bent = knee + (widest - knee) * np.tanh(over / (widest - knee))
    factor = np.where(over > 0, bent / np.maximum(gap, 1e-6), 1).astype(np.float32)
    return replace(trajectory, coefficients=trajectory.coefficients * factor[:, None])
