"""Results of finished clips on disk: an evaluation that was stopped continues where it was."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from heygem.config.params import Params, Settings
from heygem.core.files import sha256, write_text
from heygem.core.types import PathLike
from heygem.core.version import commit
from heygem.evaluation.clips import Clip
from heygem.evaluation.results import ClipResult, FinetunePoint, Measure, Row
from heygem.rendering import wav2lip

R = TypeVar("R", Row, FinetunePoint)


class ResultCache:
    """Clip results, keyed by all they depend on: footage, audio, model, settings, code.

    Parameters
    ----------
    folder : path
    params : heygem.config.params.Params
    model_id : str
        What identifies the lips model, `heygem.pipeline.models.Models.lips_sha256`.
    settings : heygem.evaluation.EvaluateSettings
    cross_audio : list of path
    """

    def __init__(
        self,
        folder: PathLike,
        params: Params,
        model_id: str,
        settings: Settings,
        cross_audio: Sequence[PathLike],
    ) -> None:
        self._folder = Path(folder)
        used = ("engine", "checkpoint", "face", "lips", "renderer")
        sections = {key: params.tree()[key] for key in used}
        checkpoint: PathLike | None = params.checkpoint
        if params.engine == "wav2lip":
            checkpoint = checkpoint or wav2lip.imported()
        facts: list[Any] = [model_id, sha256(checkpoint) if checkpoint else None, commit()]
        facts += [sections, settings.model_dump(mode="json")]
        facts += [(Path(path).name, sha256(path)) for path in cross_audio]
        self._facts = json.dumps(facts, sort_keys=True, default=str)

    def _path(self, clip: Clip) -> Path:
        extra = [sha256(path) for path in clip.extra_footage]
        key = self._facts + clip.sha256 + clip.name + repr((clip.boundary_s, clip.words, extra))
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"

    def get(self, clip: Clip) -> ClipResult | None:
        """The stored result of a clip, or None where there is none that can be read."""
        try:
            content = json.loads(self._path(clip).read_text(encoding="utf-8"))
            rows = [_from_json(Row, row) for row in content["rows"]]
            points = [_from_json(FinetunePoint, point) for point in content["points"]]
            return ClipResult(rows, content["facts"], points)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, clip: Clip, result: ClipResult) -> None:
        """Store the result of a clip; the file appears whole or not at all."""
        write_text(self._path(clip), json.dumps(asdict(result)))


def _from_json(kind: type[R], content: dict[str, Any]) -> R:
    measures = {key: Measure(**measure) for key, measure in content["measures"].items()}
    return kind(**content | {"measures": measures})
