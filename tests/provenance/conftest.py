"""An installation that has labelled one result, and the commands on it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from helpers.labelled import HEIGHT, RATE, SECONDS, WIDTH, make_audio, make_frame, write_clip
from typer import Typer
from typer.testing import CliRunner

from heygem.cli import provenance
from heygem.config.params import LabelSettings
from heygem.core.files import hash_input
from heygem.provenance import keys
from heygem.provenance.labeller import Labeller
from heygem.provenance.ledger import Ledger


@dataclass(frozen=True)
class Installation:
    """Keys, a ledger, a recording and one labelled result of it."""

    root: Path
    keys: keys.Keys
    ledger: Ledger
    source: Path
    result: Path
    frames: list[np.ndarray]
    labelled: list[np.ndarray]
    labeller: Labeller
    audio: np.ndarray


@pytest.fixture(scope="session")
def installation(tmp_path_factory):
    root = tmp_path_factory.mktemp("installation")
    own_keys = keys.init(root / "keys")
    ledger = Ledger(root / "ledger.db", keys=own_keys)
    frames = [make_frame(k) for k in range(int(SECONDS * RATE))]
    source = write_clip(root / "source.mp4", frames, tags={"comment": "recorded in the park"})
    audio = make_audio()
    labeller = Labeller(
        LabelSettings(), WIDTH, HEIGHT, keys=own_keys, keep_clear=[(180, 60, 300, 220)]
    )
    labelled = [labeller.label_frame(image, k / RATE) for k, image in enumerate(frames)]
    result = write_clip(root / "result.mp4", labelled, tags=labeller.tags, sound=audio)
    labeller.finalize(
        result,
        ledger=ledger,
        parent=source,
        sound=(audio[:, 0], 16000),
        facts={"sources": {"video": hash_input(source), "sound": "5" * 64}, "run": "r-17"},
    )
    return Installation(root, own_keys, ledger, source, result, frames, labelled, labeller, audio)


@pytest.fixture
def command(installation, monkeypatch):
    """Run a command of `heygem` on the installation."""
    monkeypatch.setenv("HEYGEM_RECORDS", str(installation.root))
    app = Typer(pretty_exceptions_enable=False)
    provenance.add_commands(app)
    return lambda *arguments: CliRunner().invoke(app, [str(each) for each in arguments])
