"""Alerts: each is sent once in a cool-down, to log, command and webhook, and again when it ends."""

import json
import logging
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heygem.core import webhook
from heygem.core.errors import HeygemError
from heygem.core.files import read_json, write_json
from heygem.core.folders import home, make_private_folder
from heygem.ops.alert_rules import LOGGER, Alert, find
from heygem.ops.alert_settings import AlertSettings

STATE = "alerts.json"
log = logging.getLogger(LOGGER)


@dataclass(frozen=True)
class AlertCheck:
    """The result of one check of all rules.

    Attributes
    ----------
    active : list of Alert
        All that hold now.
    notified : list of Alert
        Those that were sent now.
    over : list of str
        Names of the rules that no longer hold.
    failures : list of str
        Why a command or webhook could not be used.
    """

    active: list[Alert]
    notified: list[Alert] = field(default_factory=list)
    over: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def check(
    settings: AlertSettings,
    *,
    results: Path | None = None,
    folder: Path | None = None,
    state: dict[str, Any] | None = None,
) -> AlertCheck:
    """Check all rules once; send what is new, still true after the cool-down, or over.

    Parameters
    ----------
    settings : AlertSettings
    results : path, optional
        See `heygem.ops.alert_rules.find`.
    folder : path, optional
        Where the state between two checks is stored; default: `heygem.core.folders.home`. Where it
        cannot be written, as on a full disk, that is one of the failures and nothing else.
    state : dict, optional
        The state between two checks of one process, changed in place; an empty one is read.
    """
    folder = folder if folder is not None else home()
    state = state if state is not None else {}
    if not state:
        state.update(read_json(folder, name=STATE) or {})
    memory = _section(state, "memory")
    notified_at: dict[str, Any] = _section(state, "notified") or _section(state, "told")
    active = find(settings, memory, results=results)
    now = time.time()
    names = {alert.rule for alert in active}
    due = [alert for alert in active if _is_due(notified_at.get(alert.rule), now, settings)]
    over = sorted(set(notified_at) - names)
    failures = []
    for alert in due:
        failures += notify(alert.to_dict() | {"state": "active"}, settings)
    for rule in over:
        content = {"rule": rule, "severity": "warning", "message": "is over", "remedy": ""}
        failures += notify(content | {"state": "over"}, settings)
    notified = {rule: notified_at[rule] for rule in notified_at if rule in names}
    notified |= {alert.rule: now for alert in due}
    state.pop("told", None)  # the name that earlier versions gave to "notified"
    state.update(notified=notified, memory=memory)
    try:
        make_private_folder(folder)
        write_json(folder, state, name=STATE, mode=0o600)
    except (OSError, HeygemError) as error:
        failures.append(f"the state of the alerts cannot be stored: {_reason(error)}")
    return AlertCheck(active, due, over, failures)


def watch(
    settings: AlertSettings,
    *,
    results: Path | None = None,
    folder: Path | None = None,
    report: Callable[[AlertCheck], None] = lambda check: None,
    wait: Callable[[float], bool] | None = None,
) -> None:
    """Check every `settings.every_s` until `wait(seconds)` returns True; see `check`."""
    wait = wait if wait is not None else _sleep
    state: dict[str, Any] = {}
    while True:
        report(check(settings, results=results, folder=folder, state=state))
        if wait(settings.every_s):
            return


def notify(content: dict[str, str], settings: AlertSettings) -> list[str]:
    """Send one alert through every channel that is set; returns the failed ones, with reasons.

    Parameters
    ----------
    content : dict
        rule, severity, message, remedy, state ("active", "over" or "test").
    settings : AlertSettings
    """
    failures = []
    text = f"{content['rule']}: {content['message']}"
    text += f"; {content['remedy']}" if content["remedy"] else ""
    if settings.log:
        severity = logging.ERROR if content["severity"] == "critical" else logging.WARNING
        level = severity if content["state"] == "active" else logging.INFO
        log.log(
            level, "%s", text, extra={"data": {"rule": content["rule"], "state": content["state"]}}
        )
    # "text" is what chat services show of a webhook.
    body = json.dumps({**content, "program": "heygem", "text": f"heygem {text}"})
    for name, is_set, send in (
        ("command", bool(settings.command), _run_command),
        ("webhook", bool(settings.webhook), _post),
    ):
        if is_set:
            try:
                send(body.encode("utf-8", "backslashreplace"), content, settings)
            except (OSError, ValueError, HeygemError, subprocess.SubprocessError) as error:
                failures.append(f"the {name} failed: {_reason(error)}")
                log.error("the %s of an alert failed: %s", name, _reason(error))
    return failures


def _run_command(body: bytes, content: dict[str, str], settings: AlertSettings) -> None:
    environment = {f"HEYGEM_ALERT_{key.upper()}": value for key, value in content.items()}
    subprocess.run(
        settings.command,
        input=body,
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=settings.timeout_s,
        check=True,
    )


def _post(body: bytes, _content: dict[str, str], settings: AlertSettings) -> None:
    webhook.post(settings.webhook, body, secret=settings.secret, timeout_s=settings.timeout_s)


def _reason(error: Exception) -> str:
    """Without the webhook's address, which is often a secret."""
    if isinstance(error, subprocess.CalledProcessError):
        return f"exit code {error.returncode}"
    if isinstance(error, subprocess.TimeoutExpired):
        return f"it took longer than {error.timeout:.0f} s"
    return webhook.reason(error)


def _section(state: dict[str, Any], name: str) -> dict[str, Any]:
    content = state.get(name)
    return content if isinstance(content, dict) else {}


def _is_due(notified_at: Any, now: float, settings: AlertSettings) -> bool:
    """Whether to send now; a time in the future is one before the clock was set back."""
    if not isinstance(notified_at, int | float):
        return True
    return not 0 <= now - notified_at < 60 * settings.cool_down_min


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False
