"""Wav2Lip checkpoints: loading every form they are distributed in, and importing them."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from heygem.core import assets, disk, torchscript
from heygem.core.errors import AssetError
from heygem.core.files import replacing, sha256, sha256_of_unchanged, write_text
from heygem.core.types import PathLike
from heygem.core.weights import require_finite
from heygem.rendering.wav2lip.network import Wav2Lip

REMEDY = "this is not a Wav2Lip generator checkpoint (wav2lip.pth or wav2lip_gan.pth)"

DAMAGED = "the file is damaged, or its training failed: get it again from where it was published"


def _read(path: Path) -> Any:
    """The state dict inside any of the forms in which these checkpoints are distributed."""
    if not path.is_file():
        raise AssetError(
            f"no Wav2Lip checkpoint at {path}",
            remedy="give the path of a wav2lip.pth or wav2lip_gan.pth",
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if torchscript.is_archive(path):
            # torch.jit.load would run the archive's code
            state = torchscript.read_state(path)
            return {name: torch.from_numpy(values) for name, values in state.items()}
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # torch raises pickle, zip, runtime and OS errors alike here
        reason = str(e).strip().splitlines() or [type(e).__name__]
        raise AssetError(
            f"{path.name} cannot be read as a checkpoint",
            seen=reason[0][:200],
            remedy="download it again; only files that hold plain tensors are accepted, "
            "and nothing else in them is run",
        ) from e
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    return content


def _check(state: Any, name: str) -> dict[str, torch.Tensor]:
    """The state dict under the published names, complete, in float32."""
    if not isinstance(state, dict) or not state:
        raise AssetError(f"{name} holds no state dict", seen=type(state).__name__, remedy=REMEDY)
    state = {str(key).removeprefix("module."): value for key, value in state.items()}
    with torch.device("meta"):
        published = Wav2Lip().state_dict()
    # The count of training batches plays no part in the output; exports often leave it out.
    missing = [k for k in published if k not in state and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in state if k not in published]
    if missing or unexpected:
        differences = []
        if missing:
            differences.append(f"{len(missing)} missing, first {missing[0]}")
        if unexpected:
            differences.append(f"{len(unexpected)} unexpected, first {unexpected[0]}")
        what = f"{name} does not have the published layers"
        raise AssetError(what, seen=" and ".join(differences), remedy=REMEDY)
    return {key: _weights(state, key, like, name) for key, like in published.items()}


def _weights(state: dict[str, Any], key: str, like: torch.Tensor, name: str) -> torch.Tensor:
    """One entry in float32, of the published shape, and finite."""
    if key.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.long)
    value = state[key]
    is_plain = (
        isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
    )
    shape = tuple(value.shape) if is_plain else type(value).__name__
    if shape != tuple(like.shape):
        raise AssetError(
            f"{name}: {key} should have shape {tuple(like.shape)}", seen=shape, remedy=REMEDY
        )
    if not value.is_floating_point():
        raise AssetError(
            f"{name}: {key} should hold floating-point numbers", seen=value.dtype, remedy=REMEDY
        )
    value = value.detach().to(torch.float32).contiguous()
    require_finite({key: value}, name, remedy=DAMAGED)
    if key.endswith("running_var") and bool((value < 0).any()):
        raise AssetError(
            f"{name}: {key} is a variance and below zero", seen=float(value.min()), remedy=DAMAGED
        )
    return value


def load(path: PathLike) -> Wav2Lip:
    """Load a Wav2Lip network from a checkpoint file.

    Accepts the published form (a dict with ``state_dict``), bare state dicts, both with or
    without ``module.`` before each name, TorchScript archives, and safetensors. Nothing in
    the file is unpickled beyond plain tensors, and no code in it is run.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Wav2Lip
        In evaluation mode, on the CPU.

    Raises
    ------
    AssetError
        If the file is unreadable, or a layer is missing, unexpected, of another shape, or
        holds values that are not finite; the first such name is in the message.
    """
    network = Wav2Lip()
    network.load_state_dict(_check(_read(Path(path)), Path(path).name))
    return network.eval().requires_grad_(False)


def import_checkpoint(path: PathLike) -> Path:
    """Check a checkpoint and store it as safetensors in the model folder.

    Parameters
    ----------
    path : str or Path
        Any form that `load` takes.

    Returns
    -------
    Path
        ``<model folder>/<stem>.safetensors``, ready for ``engine: wav2lip``.
    """
    state = _check(_read(Path(path)), Path(path).name)
    target = assets.model_folder() / f"{Path(path).stem}.safetensors"
    _checksum(target).unlink(missing_ok=True)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _checksum(target).unlink(missing_ok=True)
        with replacing(target) as staged:
            save_file(state, staged, metadata={"network": "wav2lip", "source": Path(path).name})
            digest = sha256(staged)
    except (OSError, SafetensorError) as error:
        raise disk.write_error(error, target, place="cache") from error
    # In the format of sha256sum(1). Written after it: without it, a checkpoint counts as unchecked.
    write_text(_checksum(target), f"{digest}  {target.name}\n")
    return target


def imported() -> Path:
    """The checkpoint in the model folder; the GAN one where both are there.

    Raises
    ------
    AssetError
        None was imported yet, or its file was damaged since.
    """
    folder = assets.model_folder()
    for stem in ("wav2lip_gan", "wav2lip"):
        if (path := folder / f"{stem}.safetensors").is_file():
            return _undamaged(path)
    raise AssetError(
        "engine: wav2lip has no checkpoint",
        seen=f"neither wav2lip_gan nor wav2lip in {folder}",
        remedy="import one with `heygem models import wav2lip FILE.pth`, or name it: checkpoint",
    )


def _undamaged(path: Path) -> Path:
    """The path of an imported checkpoint whose hash is that of the import, where one was kept."""
    try:
        recorded = _checksum(path).read_text("utf-8").split()[0]
    except (OSError, ValueError, IndexError):  # imported by an earlier version
        return path
    if sha256_of_unchanged(path) != recorded:
        raise AssetError(
            f"the imported checkpoint {path.name} is damaged",
            seen=path,
            remedy="import it again with `heygem models import wav2lip FILE.pth`",
        )
    return path


def _checksum(path: Path) -> Path:
    return path.with_suffix(".sha256")
