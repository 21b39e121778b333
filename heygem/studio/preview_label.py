"""The label of previews: always there, and it says that the film is a preview."""

from heygem.config.params import DEFAULT_LABEL, LabelSettings

PREVIEW_TEXT = f"{DEFAULT_LABEL} / PREVIEW"


def preview_settings(label: LabelSettings) -> LabelSettings:
    """Settings of a preview's label: visible and signed, whatever a recipe says of its result.

    A copy without the visible label is a decision about one finished result, which two people
    answer for; a preview is made dozens of times on the way there.
    """
    changes = {
        "visible": True, "text": PREVIEW_TEXT, "language": "zh", "seconds": None, "logo": None,
        "font": None, "c2pa": True,
    }  # fmt: skip
    return label.model_copy(update=changes)
