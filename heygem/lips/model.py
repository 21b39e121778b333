"""The lips model: speech to mouth movement.

Temporal networks map log-mel spectra, recognised phones and a speech embedding to the displacement
of the lower face from the person's neutral mouth, 50 times a second, as coefficients of a basis of
mesh displacements in the canonical face frame. The model never sees pixels, so nothing of the
source video's own speech can reach the result, and its output can be plotted, edited and compared.

The output is the mean of a few networks trained on different speakers: their errors differ more
than their predictions do.
"""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from heygem import audio
from heygem.audio.embedding import PROJECTIONS
from heygem.core import assets
from heygem.core.errors import AssetError
from heygem.core.interrupts import raise_if_cancelled
from heygem.core.types import FloatArray, PathLike
from heygem.core.weights import require_finite
from heygem.face.topology import LOWER
from heygem.lips.features import (
    extract_features,
    feature_dim,
    normalized,
    silent_features,
    spectra_statistics,
)
from heygem.lips.inference import InferenceNetwork
from heygem.lips.trajectory import RATE_HZ, Trajectory

CHUNK_S = 20.0  # predicted at once; longer audio is cut, so memory does not grow with length
CONTEXT_S = 1.0  # on both sides of a chunk; more than the receptive field, so cuts do not show
SHIPPED = Path(__file__).parent / "weights" / "lips.safetensors"
#: Of the version before the speech embedding; avatars that were fine-tuned with it need it.
WITHOUT_EMBEDDING = SHIPPED.with_name("lips-plain.safetensors")
#: Trained on footage under stated licences alone: `lips.model: clean`.
CLEAN_FILE = SHIPPED.with_name("lips-clean.safetensors")
#: Looks ahead a quarter of a second: `lips.model: causal`.
CAUSAL_FILE = SHIPPED.with_name("lips-causal.safetensors")
FORMAT = "heygem-lips-3"
READABLE_FORMATS = (FORMAT, "heygem-lips-2")  # 2: spectra are not normalised
DEFAULT_OPENING_STD = 0.03  # IOD
REMEDY = "give a .safetensors file made by `heygem train lips`"


class LipsModel:
    """A trained audio-to-mouth model.

    Parameters
    ----------
    networks : sequence of InferenceNetwork
        Of training: `LipsNetwork.for_inference()`.
    basis : float32 [K, len(LOWER), 3]
        Displacements, IOD.
    gain : float32 [K]
        Scales the predictions to the spread of real mouths (networks alone under-open).
    about : dict
        Facts stored in the file: sources, speakers, hours, licence, metrics.
    embedding : str or None
        Projection of the speech embedding in its features (`heygem.audio.embedding`); None: none.
    """

    def __init__(
        self,
        networks: Sequence[InferenceNetwork],
        basis: FloatArray,
        gain: FloatArray,
        about: dict[str, Any],
        *,
        embedding: str | None = None,
    ) -> None:
        self.networks = list(networks)
        self.basis = np.asarray(basis, np.float32)
        self.gain = np.asarray(gain, np.float32)
        self.about = about
        self.embedding = embedding

    @classmethod
    def load(cls, path: PathLike | None = None) -> "LipsModel":
        """Read a model file; default: the one that comes with heygem.

        Raises
        ------
        AssetError
            The file is missing or damaged, was trained with other features than this version
            computes, or its weights are incomplete or not finite.
        """
        path = Path(path) if path is not None else assets.path(SHIPPED.name)
        meta, arrays = _read_file(path)
        require_finite(arrays, path.name, remedy=REMEDY)
        embedding = _embedding_of(meta, path)
        try:
            networks, about = _networks(meta, arrays), json.loads(meta.get("about", "{}"))
            if networks[0].inputs != feature_dim(embedding is not None):
                raise ValueError(f"{networks[0].inputs} features in 10 ms")
            basis, gain = arrays["basis"], arrays["gain"]
            if gain.shape != basis.shape[:1]:
                raise ValueError(f"a gain of {gain.shape} for a basis of {basis.shape}")
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise AssetError(
                f"{path} does not have the layers of a lips model",
                seen=(str(error).splitlines() or [type(error).__name__])[0],
                remedy=REMEDY,
            ) from error
        if basis.shape[1:] != (len(LOWER), 3):
            raise AssetError(
                f"{path} moves other points than this version does",
                seen=f"{basis.shape[1]} points, not {len(LOWER)}",
                remedy="train it again with `heygem train lips`",
            )
        return cls(networks, basis, gain, about, embedding=embedding)

    @cached_property
    def opening_std(self) -> float:
        """Spread (std) of a typical speaker's lip aperture in speech, IOD."""
        return float(self.about.get("opening_std", DEFAULT_OPENING_STD))

    def predict(self, samples_16k: FloatArray) -> Trajectory:
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
        return self.predict_features(extract_features(samples, rows=rows, embedding=self.embedding))

    def predict_features(self, features: FloatArray) -> Trajectory:
        """Mouth movement for `extract_features`, float32 [2 N, inputs] : Trajectory of N rows."""
        coefficients = np.zeros((len(features) // 2, len(self.basis)), np.float32)
        for rows, _, predicted in self._predicted_chunks(features):
            coefficients[rows] = predicted
        return Trajectory(coefficients, RATE_HZ, self.basis)

    def hidden_and_coefficients(self, features: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Inputs of the networks' last layers, and coefficients, for `extract_features`.

        Returns
        -------
        float32 [N, sum of widths], float32 [N, K]
            The inputs are cut to the rows of the features, so the neighbours that a last layer also
            takes are not all in them.
        """
        parts = [
            (np.concatenate(hidden, 1), predicted)
            for _, hidden, predicted in self._predicted_chunks(features)
        ]
        hidden, coefficients = zip(*parts, strict=True)
        return np.concatenate(hidden), np.concatenate(coefficients)

    def _predicted_chunks(
        self, features: FloatArray
    ) -> Iterator[tuple[slice, list[FloatArray], FloatArray]]:
        """Rows of a chunk, each network's last input there, and the coefficients."""
        rows = len(features) // 2
        step, context = int(CHUNK_S * RATE_HZ), round(CONTEXT_S * RATE_HZ)
        statistics = spectra_statistics(features) if self.networks[0].normalize else None
        for start in range(0, rows, step):
            raise_if_cancelled()
            stop = min(start + step, rows)
            chunk = self._padded(features, 2 * (start - context), 2 * (stop + context))
            chunk = chunk if statistics is None else normalized(chunk, *statistics)
            inside = slice(context, context + stop - start)
            # One network on each core: threads of the linear algebra wait for each other in a loop.
            with ThreadPoolExecutor(2) as pool, threadpool_limits(1, user_api="blas"):
                hidden = list(pool.map(lambda network, x=chunk: network.hidden(x), self.networks))
            outputs = [n.head(h) for n, h in zip(self.networks, hidden, strict=True)]
            predicted = np.mean(outputs, 0)[inside] * self.gain
            yield slice(start, stop), [h[inside] for h in hidden], predicted

    def _padded(self, features: FloatArray, start: int, stop: int) -> FloatArray:
        """Rows `start` to `stop` of features : float32 [stop - start, F].

        Before the first and after the last sound there is silence, not the edge of an array.
        """
        silence = silent_features(embedding=self.embedding)
        chunk = np.tile(silence.astype(np.float32), (stop - start, 1))
        first, last = max(start, 0), min(stop, len(features))
        chunk[first - start : last - start] = features[first:last]
        return chunk


def _embedding_of(meta: dict[str, str], path: Path) -> str | None:
    """Projection of the speech embedding that a model file needs; AssetError if it has gone."""
    if "speech_encoder" in meta or "ears" in meta:
        raise AssetError(
            f"{path} was trained with a speech encoder of your own, which this version cannot use",
            seen=meta.get("speech_encoder") or meta["ears"],
            remedy="train it again with `heygem train lips`",
        )
    sha256 = meta.get("speech_embedding")
    known: dict[str | None, str | None] = {p.asset.sha256: name for name, p in PROJECTIONS.items()}
    known[None] = None
    if sha256 not in known:
        raise AssetError(
            f"{path} was trained with another speech embedding than this version has",
            seen=f"sha256 {sha256}",
            remedy="train it again with `heygem train lips`",
        )
    return known[sha256]


def _networks(meta: dict[str, str], arrays: dict[str, FloatArray]) -> list[InferenceNetwork]:
    """The networks of a model file."""
    shape = json.loads(meta["network"])
    networks = []
    for i in range(int(meta["networks"])):
        prefix = f"network{i}."
        weights = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        networks.append(InferenceNetwork.from_shape(shape, weights))
    return networks


def _read_file(path: Path) -> tuple[dict[str, str], dict[str, FloatArray]]:
    """Metadata and arrays of a lips model file.

    Raises
    ------
    AssetError
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            meta = file.metadata() or {}
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise AssetError(
            f"cannot read the lips model {path}",
            seen=str(error),
            remedy=REMEDY,
        ) from error
    if meta.get("format") not in READABLE_FORMATS:
        raise AssetError(
            f"{path} is not a lips model",
            seen=f"format {meta.get('format')!r}",
            remedy=f"give a file of format {FORMAT!r}, made by `heygem train lips`",
        )
    return meta, arrays
