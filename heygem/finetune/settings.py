"""Settings of `heygem finetune`."""

from pydantic import Field

from heygem.config.params import Settings


class FinetuneSettings(Settings):
    """How the lips model is fine-tuned to one person."""

    cv_folds: int = Field(
        6, ge=3, le=12, description="folds of the footage, each held out once (cross-validation)"
    )
    cv_gap_s: float = Field(
        1.0, ge=1, le=5, description="left out on both sides of a held-out fold [s]"
    )
    min_improvement: float = Field(
        0.01,
        ge=0,
        le=0.5,
        description="improvement of the held-out correlation below which the base model is kept",
    )
