"""Parts that installed packages offer by name."""

from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest

from heygem.config.params import Params
from heygem.core import plugins
from heygem.core.errors import AssetError


def test_the_entry_points_of_installed_packages_are_offered_by_name():
    assert plugins.offered("console_scripts")["heygem"].value.startswith("heygem.")
    assert plugins.offered("heygem.no-such-group") == {}


def test_an_identity_names_package_and_version(monkeypatch):
    package = SimpleNamespace(name="Squares", version="1.2")
    point = SimpleNamespace(name="square", dist=package)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point])
    assert plugins.identity("heygem.renderers", "square") == (
        "heygem.renderers:square Squares==1.2"
    )
    assert plugins.identity("heygem.renderers", "circle") == "heygem.renderers:circle"


def test_loading_returns_the_part_or_names_what_failed():
    point = EntryPoint("decimal", "decimal:Decimal", "heygem.lips")
    assert plugins.load(point, "lips model", lambda kind: kind("1.5")) == 1.5
    absent = EntryPoint("absent", "no_such_module:thing", "heygem.lips")
    with pytest.raises(AssetError, match="lips model 'absent' cannot be loaded.*no_such_module"):
        plugins.load(absent, "lips model")


def test_a_built_in_engine_does_not_read_the_metadata_of_all_packages(monkeypatch):
    def scan(group):
        raise AssertionError(f"{group} was scanned")

    monkeypatch.setattr(plugins, "entry_points", scan)
    assert Params().override({"lips.openness_gain": 1.5}).lips.openness_gain == 1.5
