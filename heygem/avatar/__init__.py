"""A person: a video or portrait, tracked once and cached."""

from heygem.avatar.avatar import Avatar
from heygem.avatar.loading import load
from heygem.avatar.neutral_mouth import close_rest
from heygem.avatar.reasons import Reason, describe

__all__ = ["Avatar", "Reason", "close_rest", "describe", "load"]
