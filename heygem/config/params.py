"""Typed schema of every recipe in `params/`: one tree of frozen settings.

A key is spelt the same way in YAML, in a notebook and in MLflow (`lips.openness_gain`). An unknown
key is an error that names the nearest valid one: a mistyped setting that is silently ignored costs
a night of rendering.
"""

import difflib
import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from heygem.config import recipes, sweeps
from heygem.config.label_settings import BILINGUAL_LABEL as BILINGUAL_LABEL
from heygem.config.label_settings import DEFAULT_LABEL as DEFAULT_LABEL
from heygem.config.label_settings import LabelSettings as LabelSettings
from heygem.config.pairs import Pair
from heygem.config.pairs import check as check_pairs
from heygem.config.settings import Settings, checked, current, flatten, nest, validated
from heygem.config.sweeps import Sweep
from heygem.core import plugins
from heygem.core.errors import ParameterError
from heygem.core.types import PathLike


def _not_empty(text: str) -> str:
    if not text:
        raise ValueError("it is empty")
    return text


#: A folder's name. Not `min_length`, with which pydantic refuses names that are not UTF-8.
Folder = Annotated[str, AfterValidator(_not_empty)]


class InputSettings(Settings):
    """What to make: speech (a recording or a text), and videos of the people who speak it."""

    audio: str | None = Field(
        None, description="sound file with the speech; or give `text`, or several `audios`"
    )
    audios: tuple[str, ...] = Field(
        (),
        description="several sound files, instead of `audio`: names, patterns as talks/*.wav, "
        "or folders; see `combine`",
    )
    text: str | None = Field(
        None, max_length=20_000, description="text to be spoken by the local synthesiser"
    )
    voice: str = Field(
        "espeak",
        min_length=1,
        description="voice that speaks `text`: espeak, or your own module:function",
    )
    language: str = Field("en", description="language of `text`, such as en or zh")
    videos: tuple[str, ...] = Field(
        (),
        description="videos or still portraits of the people, one result each: names, patterns "
        "as people/*.mp4, or folders",
    )
    combine: Literal["all", "order", "name"] = Field(
        "all",
        description="with `audios`: all (every video with every sound), order (the first with the "
        "first, and so on), name (anna.mp4 with anna.wav)",
    )
    pairs: str | tuple[Pair, ...] | None = Field(
        None,
        description="instead of `videos`: rows {video: a.mp4, audio: b.wav} or {video:, text:}, "
        "each with settings of its own (name:, lips.offset_ms:, ...); or a CSV file of such rows",
    )
    output: Folder = Field("runs/out", description="folder that receives the results")
    overwrite: bool = Field(
        False,
        description="replace files that have the name of a result, whoever made them; "
        "inputs are never replaced",
    )

    @field_validator("videos", "audios", mode="before")
    @classmethod
    def _one_name_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("pairs", mode="before")
    @classmethod
    def _rows_are_pairs(cls, value: Any) -> Any:
        plain = value is None or isinstance(value, str)
        return value if plain else check_pairs(value, place="inputs.pairs, ")

    @model_validator(mode="after")
    def _one_source_of_speech(self) -> Self:
        if self.audio is not None and self.text is not None:
            raise ValueError("give `audio` or `text`, not both")
        if self.audios and (self.audio is not None or self.text is not None):
            other = "audio" if self.audio is not None else "text"
            raise ValueError(f"give `audios` or `{other}`, not both")
        if self.pairs and (self.videos or self.audios):
            raise ValueError(f"give `{'videos' if self.videos else 'audios'}` or `pairs`, not both")
        return self


class LipsSettings(Settings):
    """Controls on the mouth trajectory, applied after the model."""

    model: str | None = Field(
        None,
        description="lips model file (.safetensors); none: the one that comes with heygem; clean: "
        "the one trained on footage under stated licences alone; causal: the one that looks ahead "
        "a quarter of a second",
    )
    openness_gain: float = Field(
        1.0, ge=0, le=3, description="how far the mouth opens, times the model's prediction"
    )
    width_gain: float = Field(
        1.0,
        ge=0,
        le=3,
        description="how far the mouth spreads and rounds, times the model's prediction",
    )
    smoothing_ms: float = Field(
        0.0, ge=0, le=500, description="width of the smoothing of the movement [ms]"
    )
    offset_ms: float = Field(
        0.0, ge=-500, le=500, description="mouth later than the sound by this much [ms]"
    )
    silence_gate: bool = Field(True, description="close the mouth where nobody speaks")
    silence_threshold: float = Field(
        0.5, ge=0, le=1, description="voice activity below this counts as silence [0..1]"
    )
    fade_ms: float = Field(
        120.0, ge=0, le=1000, description="time the mouth takes to close or open at silence [ms]"
    )
    closure: float = Field(
        1.0,
        ge=0,
        le=1,
        description="how strongly nearly closed lips are pulled into contact (p, b, m) [0..1]",
    )
    expression: float = Field(
        1.0,
        ge=0,
        le=1.5,
        description="how far the corners of the mouth follow the slow expression of the video, "
        "such as a smile",
    )


class RendererSettings(Settings):
    """How the mouth's pixels are made from the person's own frames."""

    pose_weight: float = Field(
        1.0, ge=0, le=100, description="weight of similar head pose when source frames are chosen"
    )
    continuity_weight: float = Field(
        1.0, ge=0, le=100, description="weight of temporal continuity when source frames are chosen"
    )
    feather: float = Field(
        0.12,
        ge=0,
        le=0.5,
        description="width of the soft edge [inter-ocular distance, outer corners]",
    )
    color_match: bool = Field(
        True, description="match the colour of the mouth to the skin around it"
    )


class FaceSettings(Settings):
    """Which face, and which tracker finds it."""

    backend: Literal["mediapipe", "face-alignment"] = Field(
        "mediapipe",
        description="face tracker: mediapipe (its mesh models), or face-alignment "
        "(its weights come from their author's server at first use)",
    )
    select: Literal["largest", "index", "box"] = Field(
        "largest",
        description="which face, where there are several: largest (size and time in view), "
        "index (from left to right), box (nearest to it)",
    )
    index: int = Field(0, ge=0, le=63, description="face number from the left, for select: index")
    box: tuple[float, float, float, float] | None = Field(
        None, description="left, top, right, bottom in pixels [px], for select: box"
    )
    min_face_px: float = Field(64.0, ge=16, le=4096, description="smallest usable face [px]")
    max_turn_deg: float = Field(
        30.0,
        ge=5,
        le=60,
        description="frames with the head turned further stay unchanged [degrees]",
    )

    @model_validator(mode="after")
    def _box_is_a_box(self) -> Self:
        if self.select == "box" and self.box is None:
            raise ValueError("select: box needs `box: [left, top, right, bottom]`")
        if self.box and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise ValueError("`box` is left, top, right, bottom")
        return self


class MediaSettings(Settings):
    """The video that is written."""

    crf: int = Field(
        18, ge=0, le=51, description="H.264 quality, lower is better and larger [0..51]"
    )
    preset: Literal[
        "balanced", "ultrafast", "veryfast", "faster", "fast", "medium", "slow", "slower"
    ] = Field(
        "balanced",
        description="encoder effort: balanced, as small and as good as medium in less time; or "
        "ultrafast, veryfast, faster, fast, medium, slow, slower, of which slower makes smaller "
        "files",
    )
    encoder: Literal["auto", "x264", "nvenc"] = Field(
        "x264",
        description="x264; nvenc, the GPU's encoder; auto: nvenc where the device is a GPU that "
        "can encode, else x264",
    )
    extend: Literal["pingpong", "loop", "freeze"] = Field(
        "pingpong", description="audio longer than video: pingpong, loop or freeze the picture"
    )
    tail: Literal["trim", "keep"] = Field(
        "trim", description="audio shorter than video: trim the video, or keep its rest unchanged"
    )
    still_motion: float = Field(
        1.0,
        ge=0,
        le=1.5,
        description="how far a still portrait moves its head and eyes, times the usual; "
        "0 leaves it as still as a photograph, without blinks",
    )


class AudioSettings(Settings):
    """Processing of the audio."""

    denoise: bool = Field(False, description="reduce steady background noise")
    loudness_lufs: float | None = Field(
        None, ge=-40, le=-5, description="loudness of the result, BS.1770 [LUFS]; none: as it is"
    )


class MlflowSettings(Settings):
    """What MLflow records."""

    enabled: bool = Field(True, description="record the run in MLflow")
    experiment: str = Field(
        "heygem", min_length=1, max_length=200, description="MLflow experiment that receives it"
    )
    folder: Folder = Field("mlruns", description="folder of mlflow.db and artifacts")


class ResourceSettings(Settings):
    """What one item may take of the machine; none of it changes a pixel."""

    batch_size: int = Field(
        6,
        ge=1,
        le=256,
        description="frames that wait between two steps of the pipeline, and that an engine may "
        "compute at once; fewer take less memory",
    )
    max_minutes: float = Field(240.0, gt=0, description="longest sound that is accepted [minutes]")
    max_megapixels: float = Field(
        36.0, gt=0, description="largest picture that is accepted [million pixels]; 8K has 33"
    )


ENGINES = ("warp", "wav2lip")  # built in; packages add more, see `heygem.pipeline.renderers`

#: Settings that change nothing with an engine; it refuses them by name.
UNUSED_BY_ENGINE: dict[str, tuple[str, ...]] = {
    "warp": ("checkpoint",),
    "wav2lip": (
        *(f"lips.{name}" for name in LipsSettings.model_fields if name != "offset_ms"),
        *(f"renderer.{name}" for name in RendererSettings.model_fields),
    ),
}


def known_engines() -> list[str]:
    """Names that `engine` may have: built-in engines, and those that installed packages offer."""
    return [*ENGINES, *sorted(plugins.offered("heygem.renderers"))]


class Params(Settings):
    """A whole recipe."""

    example: ClassVar[str] = "see params/demo.yaml"

    inputs: InputSettings = Field(default_factory=InputSettings, description="what to make")
    lips: LipsSettings = Field(default_factory=LipsSettings, description="how the mouth moves")
    renderer: RendererSettings = Field(
        default_factory=RendererSettings, description="how the mouth is drawn"
    )
    face: FaceSettings = Field(default_factory=FaceSettings, description="which face")
    media: MediaSettings = Field(default_factory=MediaSettings, description="the written video")
    audio: AudioSettings = Field(default_factory=AudioSettings, description="the sound")
    label: LabelSettings = Field(
        default_factory=LabelSettings, description="the label that discloses AI generation"
    )
    mlflow: MlflowSettings = Field(
        default_factory=MlflowSettings, description="what MLflow records"
    )
    resources: ResourceSettings = Field(
        default_factory=ResourceSettings, description="what one item may take of the machine"
    )
    engine: str = Field(
        "warp",
        min_length=1,
        description="what draws the mouth: warp (the person's own frames), wav2lip (a checkpoint "
        "of yours: heygem models import wav2lip FILE), or the name of an installed engine",
    )
    checkpoint: str | None = Field(
        None, description="file for engine: wav2lip; none: the one that was imported"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where to compute: auto (the GPU when there is one), cpu, cuda"
    )
    sweep: Annotated[Sweep | None, BeforeValidator(sweeps.read)] = Field(
        None,
        description="make every item several times: {lips.openness_gain: [0.8, 1.0, 1.2]} for all "
        "combinations, or a list of variants [{lips.openness_gain: 0.8}, {lips.closure: 0.5}]",
    )

    @model_validator(mode="after")
    def _engine_uses_every_setting(self) -> "Params":
        if self.engine not in ENGINES and self.engine not in (names := known_engines()):
            nearest = difflib.get_close_matches(self.engine, names, 1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(names)}"
            raise ValueError(f"no engine is called {self.engine!r}; {hint}")
        for key in UNUSED_BY_ENGINE.get(self.engine, ()):
            section, _, name = key.rpartition(".")
            settings = getattr(self, section) if section else self
            if getattr(settings, name) != type(settings).model_fields[name].default:
                raise ValueError(f"`{key}` has no effect with engine: {self.engine}; leave it out")
        return self

    @model_validator(mode="after")
    def _every_variant_is_a_recipe(self) -> "Params":
        if self.sweep is None:
            return self
        alone = {**self.dotted(), "sweep": None}
        sweeps.check_names(self.sweep, list(flatten(Params().tree())))
        for variant in sweeps.variants(self.sweep):
            try:
                type(self).from_dict({**alone, **variant})
            except ParameterError as error:
                label = sweeps.label(variant, self.sweep)
                raise ParameterError(
                    f"sweep, variant {label}: {error.what}", seen=error.seen, remedy=error.remedy
                ) from error
        return self

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> "Params":
        """Check a nested (or dotted-key) dictionary; raises ParameterError in one line."""
        return checked(cls, nest(cls, current(cls, tree)))

    @classmethod
    def from_yaml(cls, path: PathLike) -> "Params":
        """Read a recipe file.

        Raises
        ------
        InputError
            The file cannot be read.
        ParameterError
            Its content is no recipe; names the first key that is wrong.
        """
        return cls.from_dict(recipes.read(path))

    @classmethod
    def from_namespace(cls, names: Mapping[str, Any]) -> "Params":
        """Take the plain values out of a notebook's `globals()`; modules and functions are skipped.

        Papermill injects unknown parameters with nothing but a warning; here they are an error.
        """
        plain = (dict, list, tuple, str, int, float, bool, type(None))
        hidden = {"In", "Out"}
        return cls.from_dict(
            {
                name: value
                for name, value in names.items()
                if not name.startswith("_") and name not in hidden and type(value) in plain
            }
        )

    def override(self, changes: dict[str, Any]) -> "Params":
        """A copy with some dotted keys changed: `{"lips.openness_gain": 1.2}`."""
        tree = {**self.dotted(), **current(type(self), changes)}
        return validated(type(self), nest(type(self), tree))

    def tree(self) -> dict[str, Any]:
        """Nested dictionary of plain values, as YAML and papermill take it."""
        return self.model_dump(mode="json")

    def dotted(self) -> dict[str, Any]:
        """Flat dictionary under dotted keys, as MLflow shows it."""
        return flatten(self.tree())

    def digest(self) -> str:
        """sha256 [hex] of what shapes a result: not inputs, MLflow, resources, device or sweep."""
        tree = self.tree()
        for key in ("inputs", "mlflow", "resources", "device", "sweep"):
            del tree[key]
        canonical = json.dumps(tree, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()

    def to_yaml(self, *, commented: bool = True, keep: set[str] | None = None) -> str:
        """YAML text; with the meaning, unit and default of each key above it.

        Parameters
        ----------
        commented : bool
            Write the comments.
        keep : set of str, optional
            Top-level sections to write; all when not given.
        """
        return recipes.write(self, commented=commented, keep=keep)
