"""Finished clips on disk: an evaluation of an hour that was stopped goes on where it was."""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

from heygem import lips
from heygem.core.files import sha256
from heygem.core.version import commit
from heygem.evaluation.finetune_curve import Point
from heygem.evaluation.results import Measure, Row


class ResultCache:
    """What was judged, by everything that it depends on: footage, sounds, model, settings, code.

    Parameters
    ----------
    folder : path
    params : heygem.config.params.Params
    settings : EvaluateSettings
    others : list of path
    """

    def __init__(self, folder, params, settings, others):
        self._folder = Path(folder)
        model = Path(params.lips.model or lips.SHIPPED)
        sections = {key: params.tree()[key] for key in ("face", "lips", "renderer")}
        facts = [sha256(model), commit(), sections, settings.model_dump(mode="json")]
        facts += [(Path(o).name, sha256(o)) for o in others]
        self._facts = json.dumps(facts, sort_keys=True, default=str)

    def _place(self, clip):
        more = [sha256(path) for path in clip.more]
        key = self._facts + clip.sha256 + clip.name + repr((clip.boundary_s, clip.words, more))
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"

    def get(self, clip):
        """A clip's `heygem.evaluation.protocol.Judged`, or None."""
        from heygem.evaluation.results import ClipResult

        try:
            content = json.loads(self._place(clip).read_text(encoding="utf-8"))
            rows = [_read(Row, row) for row in content["rows"]]
            points = [_read(Point, point) for point in content["points"]]
            return ClipResult(rows, content["facts"], points)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, clip, judged):
        """Write a clip, whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        place = self._place(clip)
        part = place.with_suffix(".part")
        part.write_text(json.dumps(asdict(judged)), encoding="utf-8")
        os.replace(part, place)


def _read(kind, content):
    measures = {key: Measure(**measure) for key, measure in content["measures"].items()}
    return kind(**content | {"measures": measures})
