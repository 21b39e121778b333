"""A person: a video or portrait, tracked once and cached."""

from heygem.avatar.avatar import PLAIN, Avatar, close_rest, load

__all__ = ["PLAIN", "Avatar", "close_rest", "load"]
