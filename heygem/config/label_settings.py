"""Settings of the label that discloses AI generation, and who may switch it off."""

from typing import Literal, Self

from pydantic import Field, model_validator

from heygem.config.label_wording import wording_problem
from heygem.config.settings import Settings
from heygem.core.approval import approval_problem

DEFAULT_LABEL = "AI生成"
BILINGUAL_LABEL = "AI生成 / AI-generated"  # the default of the earlier version


class LabelSettings(Settings):
    """The label that discloses AI generation; off only with a reason and two named people."""

    visible: bool = Field(True, description="draw the label on every frame")
    text: str = Field(
        DEFAULT_LABEL,
        min_length=1,
        max_length=60,
        description="text of the label; must state, not deny, that AI made it: AI or "
        "人工智能, with 生成 or 合成 (or, with language: en, generated). "
        f"In two languages: {BILINGUAL_LABEL}",
    )
    language: Literal["zh", "en"] = Field(
        "zh", description="wording rules that the text must meet: zh (GB 45438-2025) or en"
    )
    seconds: float | None = Field(
        None,
        ge=2,
        description="how long the label is shown from the first frame on [s], 2 or more; none: the "
        "whole clip. A shorter time meets GB 45438-2025, not the EU AI Act (art. 50)",
    )
    corner: Literal["top-left", "top-right", "bottom-left", "bottom-right"] = Field(
        "top-left", description="top-left, top-right, bottom-left or bottom-right"
    )
    opacity: float = Field(0.9, ge=0.5, le=1, description="opacity of the label [0.5..1]")
    height: float = Field(
        0.05, ge=0.05, le=0.2, description="height of the letters [shorter side of the picture]"
    )
    logo: str | None = Field(None, description="picture shown beside the text; none: text alone")
    font: str | None = Field(
        None, description="font file of the text; none: the one that comes with heygem"
    )
    producer: str = Field(
        "heygem", min_length=1, max_length=100, description="who made it, written in the metadata"
    )
    watermark: bool = Field(
        True, description="invisible watermark, by which a copy is traced to its run"
    )
    c2pa: bool = Field(True, description="Content Credentials (C2PA), signed by this installation")
    consent: Literal["own", "synthetic", "recorded"] | None = Field(
        None,
        description="legal basis for showing the person: own (you are responsible), "
        "synthetic (no real person), recorded (only with a consent recorded for this video); none: "
        "as this installation sets it, own where it sets nothing",
    )
    requester: str | None = Field(
        None, max_length=200, description="who asked for a copy without the visible label"
    )
    approver: str | None = Field(
        None, max_length=200, description="who approved it: another person than the requester"
    )
    reason: str | None = Field(None, max_length=500, description="why they asked for it")

    @model_validator(mode="after")
    def _unlabelled_copies_need_two_people_and_a_reason(self) -> Self:
        if not self.visible:
            problem = approval_problem(self.requester, self.approver)
            if problem is None and not (self.reason or "").strip():
                problem = "no reason is given"
            if problem is not None:
                raise ValueError(
                    "visible: false needs `requester`, `approver` (another person) and `reason`: "
                    f"{problem}"
                )
        problem = wording_problem(self.text, self.language)
        if problem is not None:
            raise ValueError(
                f"`text` must say that AI made it, as {DEFAULT_LABEL!r} does, but {problem}"
            )
        return self
