"""Settings of `heygem train lips`."""

from typing import Literal

from pydantic import Field, field_validator

from heygem.config.params import Settings


class TrainSettings(Settings):
    """How the lips model is trained."""

    seed: int = Field(0, ge=0, le=2**31 - 1, description="seed of everything random")
    networks: int = Field(3, ge=2, le=16, description="networks whose mean is the model")
    iterations: int = Field(200, ge=1, description="steps of each network")
    sync_iterations: int = Field(200, ge=0, description="steps of the sync check; 0: no check")
    batch: int = Field(24, ge=1, le=4096, description="windows in a step")
    window_s: float = Field(2.56, ge=0.64, le=30, description="length of a window [s]")
    coefficients: int = Field(16, ge=2, le=64, description="mouth coefficients")
    width: int = Field(192, ge=8, le=2048, description="channels of a network")
    dilations: tuple[int, ...] = Field((1, 2, 4, 1, 2), description="one residual block each")
    dropout: float = Field(0.15, ge=0, lt=1, description="share of channels dropped [share]")
    learning_rate: float = Field(1.2e-3, gt=0, le=1, description="at its highest")
    normalize_spectra: bool = Field(
        True, description="bring each sound's spectra to the same mean and spread, band by band"
    )
    correlation_weight: float = Field(
        1.0,
        ge=0,
        le=100,
        description="weight of the correlation of aperture and width in the loss",
    )
    ema_decay: float = Field(
        0.995, ge=0, lt=1, description="decay of the moving average of the weights [share]"
    )
    eval_every: int = Field(
        50, ge=1, description="steps between evaluations on the held-out speakers"
    )
    exclude_licences: tuple[str, ...] = Field(
        ("research-only",), description="licence classes not to be trained on"
    )
    report_speakers: tuple[str, ...] = Field(
        (),
        description="of split `dev`: speakers on whom nothing is chosen, and reported apart",
    )
    speech_embedding: Literal["default", "clean", "causal"] | None = Field(
        "default",
        description="projection of the speech embedding that is an input beside spectra and "
        "phones; causal: the only input, of a model that looks ahead a quarter of a second; "
        "null: no speech embedding",
    )

    @field_validator("speech_embedding", mode="before")
    @classmethod
    def _was_a_switch(cls, value: object) -> object:
        """`true` and `false`, as it was in version 0.1."""
        if isinstance(value, bool):
            return "default" if value else None
        return value
