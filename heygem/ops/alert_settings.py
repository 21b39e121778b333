"""Settings of alerts: what is watched, and how alerts are sent.

`params/operations/alerts.yaml` shows them all.
"""

import re
import urllib.parse
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from heygem.config import recipes
from heygem.config.settings import Settings, checked
from heygem.core.types import PathLike

Severity = Literal["warning", "critical"]


class Pattern(Settings):
    """A text in the log."""

    name: str = Field("", min_length=1, description="name of the alert")
    pattern: str = Field(
        "", min_length=1, description="regular expression, in message, error code or traceback"
    )
    within_min: float = Field(15, gt=0, description="how far back to look [minutes]")
    at_least: int = Field(1, ge=1, description="how many records it takes")
    severity: Severity = Field("warning", description="warning or critical")

    @model_validator(mode="after")
    def _can_be_compiled(self) -> Self:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"`{self.pattern}` is no regular expression: {error}") from error
        return self


class DiskLow(Settings):
    """Free space of the disks of results, cache, records and temporary files."""

    enabled: bool = Field(True, description="whether it is watched")
    free_gb: float = Field(5, ge=0, description="alert below so much [GB]")
    free_percent: float = Field(3, ge=0, le=100, description="alert below such a share [%]")


class ErrorRate(Settings):
    """Failed items among those that ended."""

    enabled: bool = Field(True, description="whether it is watched")
    above: float = Field(0.2, ge=0, le=1, description="alert above this share, 0..1")
    within_min: float = Field(60, gt=0, description="how far back to look [minutes]")
    at_least: int = Field(5, ge=1, description="no alert with fewer items")


class StalledQueue(Settings):
    """Items that wait and nobody makes, a running item without progress, a queue that paused."""

    enabled: bool = Field(True, description="whether it is watched")
    after_min: float = Field(30, gt=0, description="how long nothing has happened [minutes]")


class LedgerCheck(Settings):
    """Whether the ledger verifies."""

    enabled: bool = Field(True, description="whether it is watched")
    every_min: float = Field(60, gt=0, description="how often it is verified [minutes]")


class AlertSettings(Settings):
    """The whole file."""

    example: ClassVar[str] = "params/operations/alerts.yaml"

    every_s: float = Field(60, ge=1, description="how often `heygem alerts watch` looks [s]")
    cool_down_min: float = Field(
        60, ge=0, description="an alert that lasts is sent again after so long [minutes]"
    )
    log: bool = Field(True, description="write alerts to the log")
    command: tuple[str, ...] = Field(
        (), description="program and arguments, run without a shell; the alert is JSON on its stdin"
    )
    webhook: str = Field("", description="address that receives the alert as JSON by POST")
    secret: str = Field(
        "", description="key that signs what the webhook receives; docs/operations.md"
    )
    timeout_s: float = Field(20, gt=0, le=600, description="limit of command and webhook [s]")
    patterns: tuple[Pattern, ...] = Field(
        (
            Pattern(
                name="gpu_memory",
                pattern=r"CUDA out of memory|CUDA error|OUT_OF_MEMORY",
                severity="critical",
            ),
            Pattern(name="file_not_found", pattern=r"FileNotFoundError|no such file", at_least=3),
        ),
        description="texts in the log",
    )
    disk_low: DiskLow = Field(default_factory=DiskLow, description="free space")
    error_rate: ErrorRate = Field(default_factory=ErrorRate, description="failed items")
    stalled_queue: StalledQueue = Field(default_factory=StalledQueue, description="the queue")
    ledger: LedgerCheck = Field(default_factory=LedgerCheck, description="the ledger")

    @model_validator(mode="after")
    def _webhook_is_an_address(self) -> Self:
        parts = urllib.parse.urlsplit(self.webhook)
        if self.webhook and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("webhook must be an address that starts with https:// or http://")
        names = [pattern.name for pattern in self.patterns]
        if len(set(names)) < len(names):
            raise ValueError("two patterns have the same name")
        return self


def read(path: PathLike | None) -> AlertSettings:
    """The settings in a YAML file; defaults without one.

    Raises
    ------
    InputError, ParameterError
        It cannot be read, or something in it is wrong.
    """
    return checked(AlertSettings, recipes.read(path) if path is not None else {})
