"""Saying that a file is AI-made, to people and to machines, and reading it back."""

from heygem.label.aigc import AigcLabel, aigc_tags
from heygem.label.visible import VisibleLabel

__all__ = ["AigcLabel", "VisibleLabel", "aigc_tags"]
