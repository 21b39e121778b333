"""The rules under which an installation serves several people: who, how much, from where.

One file says them (`params/served/policy.yaml` is an example with every key explained), and one
variable in the environment of the server, its kernels and its line of jobs says where that file is.
What is asked and used goes into the ledger, which is also where the daily quota is counted.

A quota that is counted by the wall clock is reset by setting the clock. Here a day is 24 hours of
the *ledger's own time*: between two admissions in one boot of the machine it advances by what the
kernel's boot clock says, which nobody can set; over a reboot by the wall clock, and never backward.
"""

import hashlib
import ipaddress
import os
import time
from functools import cache
from pathlib import Path

from pydantic import Field

from heygem import ledger as record
from heygem import media, recipe_file
from heygem.errors import InputError, ParameterError, PolicyError
from heygem.params import Settings, checked

FILE_VARIABLE = "HEYGEM_POLICY"  # names the policy file; without it nobody is served
USER_VARIABLE = "HTTP_X_HEYGEM_USER"  # a kernel's user; Voilà makes it of the header that gate sets
DAY_S = 24 * 3600.0
NAME = r"[a-z0-9][a-z0-9._-]{0,31}"  # of a user


class QuotaSettings(Settings):
    """How much each person may have made within 24 hours."""

    videos_per_day: int = Field(40, ge=0, description="videos that one person may ask for in 24 h")
    minutes_per_day: float = Field(
        60.0, ge=0, description="minutes of speech that one person may ask for in 24 h [min]"
    )


class RegionSettings(Settings):
    """From which addresses the studio answers."""

    allow: str | None = Field(
        None,
        description="file of networks that are answered, one a line as 192.0.2.0/24 (`#` starts a "
        "remark); all others are refused, and so is who cannot be placed; none: no rule",
    )
    trusted_proxies: tuple[str, ...] = Field(
        (),
        description="networks of your own reverse proxies: only their X-Forwarded-For is believed, "
        "and with any given, only they are answered",
    )


class LimitSettings(Settings):
    """How large what people bring may be."""

    upload_mb: float = Field(8.0, gt=0, le=8, description="largest upload [MiB]")
    video_minutes: float = Field(10.0, gt=0, description="longest video of a person [min]")
    video_megapixels: float = Field(
        8.3, gt=0, description="largest picture, width times height; 8.3 is 4K [million pixels]"
    )
    sound_minutes: float = Field(10.0, gt=0, description="longest speech [min]")
    folders: tuple[str, ...] = Field(
        ("samples", "runs"),
        min_length=1,
        description="folders that media may be chosen from, below the project or absolute",
    )


class Policy(Settings):
    """All rules; relative file names are taken from the policy file's own folder."""

    users: str = Field(
        "users.yaml",
        min_length=1,
        description="file of names and password hashes; made by: heygem policy user POLICY NAME",
    )
    agreement: str = Field(
        "agreement.md",
        min_length=1,
        description="usage agreement: shown at login, and each one's yes to this very text is "
        "recorded; a changed text is asked again",
    )
    quota: QuotaSettings = Field(
        default_factory=QuotaSettings, description="how much each person may have made in 24 h"
    )
    region: RegionSettings = Field(
        default_factory=RegionSettings,
        description="from which addresses it is answered. An address says where a connection comes "
        "from, not where a person is: a VPN passes this rule",
    )
    limits: LimitSettings = Field(
        default_factory=LimitSettings, description="how large what people bring may be"
    )


class Rules:
    """A policy file, read and checked together with the files it names.

    Parameters
    ----------
    path : path-like

    Attributes
    ----------
    policy : Policy
    users : dict of str to str
        Password hash by name.
    agreement, version : str
        The text, and the sha256 of it.
    networks : tuple of ip_network, or None
        Answered; None where there is no region rule.
    proxies : tuple of ip_network

    Raises
    ------
    InputError, ParameterError
        Anything is missing or wrong: who cannot read the rules serves nobody.
    """

    def __init__(self, path):
        self.path = Path(path).absolute()
        self.policy = policy = checked(Policy, recipe_file.read(self.path))
        users = recipe_file.read(self.beside(policy.users))
        self.users = {str(name): value for name, value in users.items()}
        if not self.users or not all(isinstance(value, str) for value in self.users.values()):
            raise ParameterError(
                "the policy names no users, or one without a password",
                seen=policy.users,
                remedy="add one: heygem policy user POLICY.yaml NAME",
            )
        self.agreement = _text(self.beside(policy.agreement)).strip()
        if not self.agreement:
            raise ParameterError("the usage agreement is empty", seen=policy.agreement)
        self.version = hashlib.sha256(self.agreement.encode()).hexdigest()
        self.proxies = _networks(policy.region.trusted_proxies, "region.trusted_proxies")
        self.networks = None
        if policy.region.allow is not None:
            lines = _text(self.beside(policy.region.allow)).splitlines()
            wanted = [line.partition("#")[0].strip() for line in lines]
            self.networks = _networks([w for w in wanted if w], policy.region.allow)

    def beside(self, name):
        """A file that the policy names."""
        return self.path.parent / name

    # --- from where ---

    def client(self, peer, forwarded):
        """The address that a request comes from, as far as it can be believed.

        Parameters
        ----------
        peer : str
            Who is at the other end of the connection.
        forwarded : list of str
            Values of X-Forwarded-For, in order.

        Returns
        -------
        ip_address or None
            None where it cannot be told.
        """
        here = _address(peer)
        if here is None or not self.proxies:
            return here
        if not _within(here, self.proxies):
            return None
        # Each proxy adds, at the end, whom it saw. From there on backward, the first that is none
        # of ours is the client; whatever stands before it may be a lie.
        for text in reversed([part for value in forwarded for part in value.split(",")]):
            there = _address(text.strip())
            if there is None or not _within(there, self.proxies):
                return there
        return None

    def answers(self, peer, forwarded=()):
        """Whether a request from there is answered at all; see `client`."""
        if self.networks is None and not self.proxies:
            return True
        client = self.client(peer, list(forwarded))
        return client is not None and (self.networks is None or _within(client, self.networks))

    # --- the agreement ---

    def has_agreed(self, ledger, user):
        """Whether this person's yes to this very text is on record."""
        rows = ledger.entries(kind="agreed", subject=user)
        return any(row.body.get("version") == self.version for row in rows)

    def agree(self, ledger, user, address=None):
        """Record the yes; once a person and text."""
        if not self.has_agreed(ledger, user):
            ledger.append("agreed", user, {"version": self.version, "address": address})

    # --- how much ---

    def check_media(self, path):
        """Refuse a file that lies elsewhere or is too large; returns its MediaInfo, if it is one.

        Raises
        ------
        PolicyError, InputError
        """
        limits = self.policy.limits
        self.check_place(path)
        if Path(path).is_dir():  # a taught person, made here of media that was checked
            return None
        info = media.probe(path)
        if info.video is not None:
            pixels = info.video.width * info.video.height / 1e6
            _most("the picture is too large", pixels, limits.video_megapixels, "million pixels")
        longest = limits.sound_minutes if info.video is None else limits.video_minutes
        what = "sound" if info.video is None else "video"
        _most(f"the {what} is too long", (info.duration_s or 0.0) / 60, longest, "minutes")
        return info

    def check_place(self, path):
        """Refuse a path outside the folders that people may choose from."""
        from heygem import notebooks

        real = Path(path).resolve()
        if not any(
            real.is_relative_to((notebooks.root() / folder).resolve())
            for folder in self.policy.limits.folders
        ):
            raise PolicyError(
                "files may not be chosen from there",
                seen=path,
                remedy=f"choose from: {', '.join(self.policy.limits.folders)}",
            )

    def admit(self, ledger, user, *, videos, seconds):
        """Count what somebody asks for, or refuse it as a whole.

        Parameters
        ----------
        ledger : heygem.ledger.Ledger
        user : str
        videos : int
        seconds : float
            Of speech, all videos together.

        Raises
        ------
        PolicyError
            Over the quota; the refusal is recorded.
        """
        quota = self.policy.quota
        allowed = {"videos": quota.videos_per_day, "minutes": quota.minutes_per_day}

        def row():
            clock, time_s = _clock(), 0.0
            rows = ledger.entries(kind="admitted")
            if rows:
                last = rows[-1].body
                time_s = last["time_s"] + _elapsed(last["clock"], clock)
            used = _used(rows, user, time_s)
            asked = {"videos": videos, "minutes": seconds / 60}
            for unit, most in allowed.items():
                if used[unit] + asked[unit] > most:
                    raise PolicyError(
                        f"this is over your daily quota of {most:g} {unit}",
                        seen=f"{used[unit]:.3g} used in 24 hours, {asked[unit]:.3g} asked for",
                        remedy="ask for less, or wait",
                    )
            body = {"user": user, "videos": videos, "minutes": seconds / 60}
            return {**body, "time_s": time_s, "clock": clock}

        try:
            return ledger.append("admitted", user, row)
        except PolicyError as refusal:
            ledger.append("refused", user, {"user": user, "reason": str(refusal)})
            raise

    def usage(self, ledger, user):
        """What somebody asked for in the last 24 hours: dict of `videos` and `minutes`."""
        rows = ledger.entries(kind="admitted")
        if not rows:
            return {"videos": 0, "minutes": 0.0}
        last = rows[-1].body
        return _used(rows, user, last["time_s"] + _elapsed(last["clock"], _clock()))


def current():
    """The rules this process serves under, or None where it serves nobody but its owner.

    Raises
    ------
    HeygemError
        There should be rules, and they cannot be read.
    """
    path = os.environ.get(FILE_VARIABLE)
    return None if not path else _read(path)


def start(folder):
    """Where a file browser opens: `folder`, or the first that the rules in force allow."""
    rules = current()
    if rules is None:
        return folder
    from heygem import notebooks

    return notebooks.root() / rules.policy.limits.folders[0]


@cache
def _read(path):
    return Rules(path)


def visitor():
    """The person that this kernel works for; "" where the installation serves only its owner.

    Raises
    ------
    PolicyError
        The installation serves several, and who this is was not told.
    """
    if current() is None:
        return ""
    name = os.environ.get(USER_VARIABLE, "")
    if name not in current().users:
        raise PolicyError("nobody is logged in", remedy="open the page again and log in")
    return name


def admit_pairs(pairs, seconds):
    """Let a table of pairs into the line, under the rules in force; returns the visitor's name.

    Parameters
    ----------
    pairs : list of heygem.pairs.Pair
    seconds : list of float
        Length of the speech of each.

    Raises
    ------
    PolicyError, InputError
        One of them may not be made; then none is admitted.
    """
    rules = current()
    if rules is None:
        return ""
    from heygem.label import keys

    user, book = visitor(), record.Ledger(keys=keys.ensure())
    if not rules.has_agreed(book, user):
        raise PolicyError("the usage agreement has changed", remedy="log in again to read it")
    for pair, length_s in zip(pairs, seconds, strict=True):
        for path in (pair.video, pair.audio):
            if path:
                rules.check_media(path)
        _most("the speech is too long", length_s / 60, rules.policy.limits.sound_minutes, "minutes")
    rules.admit(book, user, videos=len(pairs), seconds=sum(seconds))
    return user


def _clock():
    """Now, by the wall clock and by a clock that nobody can set."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        up_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    except (OSError, AttributeError):  # not Linux: the wall clock alone, which never goes back
        boot, up_s = "", 0.0
    return {"boot": boot, "up_s": round(up_s, 3), "wall_s": round(time.time(), 3)}


def _elapsed(before, now):
    if before["boot"] and before["boot"] == now["boot"]:
        return max(0.0, now["up_s"] - before["up_s"])
    return max(0.0, now["wall_s"] - before["wall_s"])


def _used(rows, user, time_s):
    recent = [r.body for r in rows if r.subject == user and r.body["time_s"] > time_s - DAY_S]
    return {unit: sum(body[unit] for body in recent) for unit in ("videos", "minutes")}


def _most(what, value, most, unit):
    if value > most:
        raise PolicyError(what, seen=f"{value:.3g} {unit}", remedy=f"at most {most:g} {unit}")


def _text(path):
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as e:
        raise InputError("a file that the policy names cannot be read", seen=f"{path}: {e}") from e


def _networks(texts, place):
    try:
        return tuple(ipaddress.ip_network(text) for text in texts)
    except ValueError as e:
        raise ParameterError(
            "this is not a network", seen=f"{place}: {e}", remedy="write it as 192.0.2.0/24"
        ) from e


def _address(text):
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # The same host has two spellings where a server listens on both families.
    return getattr(address, "ipv4_mapped", None) or address


def _within(address, networks):
    return any(address.version == net.version and address in net for net in networks)
