"""Speech to mouth movement, and the knobs on it.

A temporal network reads log-mel spectra and recognised phones, and says how the lower face is
displaced from the person's neutral mouth, 50 times a second, as coefficients of a basis of mesh
displacements in the canonical face frame. It never sees pixels, so nothing of the source video's
own speech can leak in, and what comes out can be plotted, edited and compared.

The answer is the mean of a few networks trained on different speakers: their errors differ more
than their answers do."""

import json
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from heygem import audio
from heygem.core.errors import AssetError
from heygem.face.topology import LOWER
from heygem.lips.features import extract_features, normalize_spectra, silent_features
from heygem.lips.network import LipsNetwork
from heygem.lips.trajectory import RATE_HZ, Trajectory

CHUNK_S = 20.0  # predicted at once; longer audio is cut, so memory does not grow with length
CONTEXT_S = 1.0  # on both sides of a chunk; more than the network's reach, so cuts do not show
SHIPPED = Path(__file__).parent / "weights" / "lips.safetensors"
FORMAT = "heygem-lips-3"  # 2: spectra as they are


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
    encoder : heygem.audio.encoder.SpeechEncoder or None
        Its features follow those of `extract_features`.
    """

    def __init__(self, networks, basis, gain, about, *, device="cpu", encoder=None):
        self.networks = [n.to(device).eval() for n in networks]
        self.basis = np.asarray(basis, np.float32)
        self.gain = np.asarray(gain, np.float32)
        self.about = about
        self.device = device
        self.encoder = encoder

    @classmethod
    def load(cls, path=None, *, device="cpu"):
        """Read a model file; default: the one that comes with the kit.

        Raises
        ------
        AssetError
            The file, or the speech encoder it was trained with, is missing or another one.
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
        encoder = None
        encoder_meta = meta.get("speech_encoder") or meta.get("ears")  # the latter in older files
        if encoder_meta:
            from heygem.audio.encoder import encoder_from_metadata

            encoder = encoder_from_metadata(json.loads(encoder_meta), path, device=device)
        return cls(networks, basis, tensors["gain"].numpy(), about, device=device, encoder=encoder)

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
        return self.predict_features(extract_features(samples, rows=rows, encoder=self.encoder))

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
        edge = torch.from_numpy(silent_features(self.encoder)).repeat(2 * rows, 1)
        heard = torch.from_numpy(np.ascontiguousarray(heard, np.float32))
        whole = torch.cat([edge, heard, edge])
        return normalize_spectra(whole, like=heard) if self.networks[0].level else whole

    @torch.inference_mode()
    def _network_mean(self, heard):
        x = heard[None].to(self.device)
        mean = torch.stack([n.answer(x) for n in self.networks]).mean(0)[0]
        return mean.float().cpu().numpy() * self.gain
