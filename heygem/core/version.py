"""Version of the package, and a hash of the code that decides what a result looks like."""

import contextlib
import functools
import hashlib
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
# Everything from `core` to `pipeline`, whole and in the order of imports: all that makes a result.
# Packages after the pipeline (evaluation, batch, server, studio, cli) cannot change a frame, so an
# edit of a page or a login does not make finished videos look out of date.
RESULT_PACKAGES: tuple[str, ...] = (
    "core", "config", "media", "audio", "face", "lips", "avatar", "provenance", "rendering",
    "experiments", "training", "finetune", "pipeline",
)  # fmt: skip


@functools.cache
def code_version() -> dict[str, str]:
    """Release and source hash: `{"version": "0.1.0", "source_sha256": hex}`.

    The hash covers every Python source of `RESULT_PACKAGES`, by path and content.
    """
    digest = hashlib.sha256()
    for name in RESULT_PACKAGES:
        for source in sorted((PACKAGE / name).rglob("*.py")):
            digest.update(f"{source.relative_to(PACKAGE).as_posix()}\0".encode())
            digest.update(source.read_bytes())
    try:
        release = version("heygem")
    except PackageNotFoundError:  # run from a checkout that was never installed
        release = "0"
    return {"version": release, "source_sha256": digest.hexdigest()}


@functools.cache
def library_versions() -> dict[str, str]:
    """Versions of the libraries whose arithmetic decides pixels and coded bytes."""
    names = ("av", "numba", "numpy", "opencv-python", "scipy", "torch")
    versions = {}
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def commit() -> str:
    """Commit of the running code, or "unknown" where there is no history beside it."""
    try:
        done = subprocess.run(
            ["git", "-C", str(PACKAGE), "rev-parse", "--short=12", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return done.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
