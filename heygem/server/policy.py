"""Policy of an installation that serves several users: accounts, networks, quotas and limits.

The policy is one file (`params/served/policy.yaml` is an example with every key explained); an
environment variable of the server, its kernels and its job queue names it. Agreements and admitted
jobs are recorded in the ledger, from which the daily quota is computed (see `heygem.server.quota`).
"""

import hashlib
import ipaddress
import os
import re
from functools import cache
from pathlib import Path

import yaml
from pydantic import Field

from heygem import media
from heygem.config import recipes
from heygem.config.params import Settings, checked
from heygem.core import disk
from heygem.core.errors import InputError, ParameterError, PolicyError
from heygem.core.files import replacing
from heygem.provenance import ledger as record
from heygem.server import quota
from heygem.server.quota import QuotaSettings

FILE_VARIABLE = "HEYGEM_POLICY"  # names the policy file; without it only the owner is served
USER_VARIABLE = "HTTP_X_HEYGEM_USER"  # a kernel's user, from the header that `access` sets
NAME = r"[a-z0-9][a-z0-9._-]{0,31}"  # of a user
SHORTEST_PASSWORD = 8
# Settings that a served user's table may change: neither labels, nor files, nor code.
_USER_SETTINGS = r"(lips|renderer|face|media|audio)\.(?!model$)\w+|inputs\.language"


class RegionSettings(Settings):
    """Networks that the studio serves."""

    allow: str | None = Field(
        None,
        description="file of allowed networks, one per line as 192.0.2.0/24 (`#` starts a "
        "comment); any other or missing address is refused; none: no rule",
    )
    trusted_proxies: tuple[str, ...] = Field(
        (),
        description="networks of your own reverse proxies: only their X-Forwarded-For is trusted, "
        "and if any are named, only they may connect",
    )


class LimitSettings(Settings):
    """Limits on the media that users upload or choose."""

    upload_mb: float = Field(8.0, gt=0, le=8, description="largest upload [MiB]")
    video_minutes: float = Field(10.0, gt=0, description="longest video [min]")
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
    """The policy file; relative paths in it are relative to its own folder."""

    users: str = Field(
        "users.yaml",
        min_length=1,
        description="file of names and password hashes; made by: heygem policy user POLICY NAME",
    )
    agreement: str = Field(
        "agreement.md",
        min_length=1,
        description="usage agreement: shown at login; acceptance is recorded with the hash of the "
        "text, and a changed text must be accepted again",
    )
    quota: QuotaSettings = Field(
        default_factory=QuotaSettings, description="daily quota of each user"
    )
    region: RegionSettings = Field(
        default_factory=RegionSettings,
        description="which networks may connect. An address tells where a connection comes from, "
        "not where a person is: a VPN passes this rule",
    )
    limits: LimitSettings = Field(default_factory=LimitSettings, description="limits on media")


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
        Networks served; None where there is no region rule.
    proxies : tuple of ip_network

    Raises
    ------
    InputError, ParameterError
        Anything is missing or wrong: no request is served under rules that cannot be read.
    """

    def __init__(self, path):
        self.path = Path(path).absolute()
        self.policy = policy = checked(Policy, recipes.read(self.path))
        users = recipes.read(self.beside(policy.users))
        self.users = {str(name): value for name, value in users.items()}
        if not self.users or not all(
            re.fullmatch(NAME, name) and isinstance(value, str)
            for name, value in self.users.items()
        ):
            raise ParameterError(
                "the policy names no users, or one without a proper name or password",
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
            texts = [line.partition("#")[0].strip() for line in lines]
            self.networks = _networks([text for text in texts if text], policy.region.allow)

    def beside(self, name):
        """Path of a file that the policy names."""
        return self.path.parent / name

    # --- networks ---

    def client(self, peer, forwarded):
        """The address that a request comes from, as far as it can be trusted.

        Parameters
        ----------
        peer : str
            Address of the other end of the connection.
        forwarded : list of str
            Values of X-Forwarded-For, in order.

        Returns
        -------
        ip_address or None
            None where it cannot be determined.
        """
        address = _address(peer)
        if address is None or not self.proxies:
            return address
        if not _within(address, self.proxies):
            return None
        # Each proxy appends the address of its peer. Read backward, the first address that is not a
        # trusted proxy is the client; everything before it may be forged.
        for text in reversed([part for value in forwarded for part in value.split(",")]):
            sender = _address(text.strip())
            if sender is None or not _within(sender, self.proxies):
                return sender
        return None

    def is_served(self, peer, forwarded=()):
        """Whether requests from there are served; see `client`."""
        if self.networks is None and not self.proxies:
            return True
        client = self.client(peer, list(forwarded))
        return client is not None and (self.networks is None or _within(client, self.networks))

    # --- the agreement ---

    def has_agreed(self, ledger, user):
        """Whether this user's agreement to the current text is recorded."""
        rows = ledger.entries(kind="agreed", subject=user)
        return any(row.body.get("version") == self.version for row in rows)

    def agree(self, ledger, user, address=None):
        """Record a user's agreement, once for each text."""
        if not self.has_agreed(ledger, user):
            ledger.append("agreed", user, {"version": self.version, "address": address})

    # --- limits ---

    def check_media(self, path):
        """Reject a file outside the allowed folders or too large; returns its MediaInfo.

        Raises
        ------
        PolicyError, InputError
        """
        limits = self.policy.limits
        self.check_place(path)
        if Path(path).is_dir():  # an avatar bundle, made here from checked media
            return None
        info = media.probe(path)
        if info.video is not None:
            pixels = info.video.width * info.video.height / 1e6
            _check_limit(
                "the picture is too large", pixels, limits.video_megapixels, "million pixels"
            )
        longest = limits.sound_minutes if info.video is None else limits.video_minutes
        what = "sound" if info.video is None else "video"
        _check_limit(f"the {what} is too long", (info.duration_s or 0.0) / 60, longest, "minutes")
        return info

    def check_place(self, path):
        """Reject a path outside the folders that users may choose from."""
        from heygem.batch import notebooks

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


def set_password(path, name, password):
    """Write the hash of a user's password into the users file of a policy.

    Raises
    ------
    ParameterError
        The name is not valid, or the password too short.
    """
    from jupyter_server.auth.security import passwd

    if not re.fullmatch(NAME, name):
        raise ParameterError(
            "this is no name for a user", seen=name, remedy="small letters, digits, dots, dashes"
        )
    if len(password) < SHORTEST_PASSWORD:
        raise ParameterError(
            "the password is too short", remedy=f"at least {SHORTEST_PASSWORD} characters"
        )
    path = Path(path)
    target = path.parent / checked(Policy, recipes.read(path)).users
    users = recipes.read(target) if target.exists() else {}
    users[name] = passwd(password)
    try:
        with replacing(target, mode=0o600) as staged:
            staged.write_text(yaml.safe_dump(users, allow_unicode=True), encoding="utf-8")
    except OSError as e:
        raise disk.write_error(e, target, what="the users' file cannot be written") from e


def current():
    """The rules in force, or None where only the owner is served.

    Raises
    ------
    HeygemError
        The policy file cannot be read.
    """
    path = os.environ.get(FILE_VARIABLE)
    return None if not path else _read(path)


def start_folder(folder):
    """First folder of a file browser: `folder`, or the first that the rules in force allow."""
    rules = current()
    if rules is None:
        return folder
    from heygem.batch import notebooks

    return notebooks.root() / rules.policy.limits.folders[0]


@cache
def _read(path):
    return Rules(path)


def current_user():
    """The user of this kernel; "" where the installation serves only its owner.

    Raises
    ------
    PolicyError
        The installation serves several users, and none is logged in.
    """
    if current() is None:
        return ""
    name = os.environ.get(USER_VARIABLE, "")
    if name not in current().users:
        raise PolicyError("nobody is logged in", remedy="open the page again and log in")
    return name


def admit_pairs(pairs, seconds):
    """Check a table of pairs against the rules in force; returns the user's name.

    Parameters
    ----------
    pairs : list of heygem.config.pairs.Pair
    seconds : list of float
        Length of the speech of each.

    Raises
    ------
    PolicyError, InputError
        One of them is not allowed; then none is admitted.
    """
    rules = current()
    if rules is None:
        return ""
    from heygem.provenance import keys

    user, book = current_user(), record.Ledger(keys=keys.ensure())
    if not rules.has_agreed(book, user):
        raise PolicyError("the usage agreement has changed", remedy="log in again to read it")
    for pair in pairs:
        forbidden = [key for key in pair.changes if not re.fullmatch(_USER_SETTINGS, key)]
        if forbidden:
            raise PolicyError(
                "only the owner of this installation may set this",
                seen=forbidden[0],
                remedy="leave the column out",
            )
    for pair, length_s in zip(pairs, seconds, strict=True):
        for path in (pair.video, pair.audio):
            if path:
                rules.check_media(path)
        _check_limit(
            "the speech is too long", length_s / 60, rules.policy.limits.sound_minutes, "minutes"
        )
    quota.admit(book, user, rules.policy.quota, videos=len(pairs), minutes=sum(seconds) / 60)
    return user


def _check_limit(what, value, most, unit):
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
    # Servers that listen on IPv4 and IPv6 see IPv4 clients as ::ffff:a.b.c.d.
    return getattr(address, "ipv4_mapped", None) or address


def _within(address, networks):
    return any(address.version == net.version and address in net for net in networks)
