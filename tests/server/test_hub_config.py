"""The configuration of JupyterHub that is shipped, without starting a hub."""

import pytest
from helpers.hub import PROJECT, write_policy

pytest.importorskip("jupyterhub", reason="jupyterhub is not installed: pip install -e '.[hub]'")

from jupyterhub.spawner import LocalProcessSpawner, SimpleLocalProcessSpawner
from traitlets.config import Config

from heygem.core.errors import HeygemError
from heygem.server import hub, single_user

SHIPPED = PROJECT / "params/served/jupyterhub_config.py"


@pytest.fixture
def config(tmp_path):
    """The shipped configuration, with paths of this test."""
    policy = write_policy(tmp_path / "rules", reviewers="lawyers")
    text = SHIPPED.read_text().replace("/etc/heygem/policy.yaml", str(policy))
    text = text.replace('"/var/lib/heygem"', repr(str(tmp_path / "state")))
    c = Config()
    exec(compile(text, SHIPPED, "exec"), {"get_config": lambda: c})
    return c


def test_the_shipped_configuration_makes_a_service_and_its_worker(config, tmp_path):
    service, worker = config.JupyterHub.services
    assert (service["name"], worker["name"]) == ("heygem", "heygem-worker-1")
    assert service["url"].startswith("http://127.0.0.1:")
    assert service["user"] == worker["user"] == "heygem"
    for each in (service, worker):
        assert each["environment"]["HEYGEM_STATE"] == str(tmp_path / "state")
        assert each["environment"]["HEYGEM_RECORDS"] == str(tmp_path / "state/records")
    assert config.JupyterHub.bind_url.startswith("http://127.0.0.1:")
    assert config.JupyterHub.load_groups == {"lawyers": {"users": []}}


def test_nobody_logs_in_as_the_account_of_the_queue(config):
    assert config.Authenticator.blocked_users == {"heygem", "root"}


def test_a_users_server_knows_the_service_and_nothing_of_what_it_owns(config, tmp_path):
    environment = config.Spawner.environment
    assert environment["HEYGEM_SERVICE"].endswith("/services/heygem/")
    assert not {"HEYGEM_STATE", "HEYGEM_RECORDS", "HEYGEM_QUEUE", "HEYGEM_POLICY"} & set(
        environment
    )
    assert str(tmp_path / "state") not in " ".join(environment.values())
    scopes = config.Spawner.server_token_scopes
    assert set(scopes) == {
        "users:activity!user",
        "access:servers!server",
        "access:services!service=heygem",
    }


def test_one_account_for_all_users_is_refused_unless_it_is_a_trial(config, tmp_path):
    check = config.Spawner.pre_spawn_hook
    check(LocalProcessSpawner())
    with pytest.raises(hub.SharedAccount):
        check(SimpleLocalProcessSpawner())
    trial = Config()
    policy = write_policy(tmp_path / "rules")
    hub.configure(trial, state=tmp_path, policy_file=policy, models=tmp_path, shared_account=True)
    trial.Spawner.pre_spawn_hook(SimpleLocalProcessSpawner())


def test_a_hub_does_not_start_with_a_policy_that_cannot_be_read(tmp_path):
    with pytest.raises(HeygemError, match="gone.yaml"):
        hub.configure(Config(), state=tmp_path, policy_file=tmp_path / "gone.yaml", models=tmp_path)


def test_a_user_gets_a_folder_of_their_own_with_the_studio_in_it(tmp_path):
    folder = single_user.prepare(tmp_path)
    assert folder == tmp_path / "heygem" and folder.stat().st_mode & 0o077 == 0
    notebook = folder / "studio.ipynb"
    notebook.write_text("changed by the user")
    single_user.prepare(tmp_path)  # made anew at each start
    assert "ServedStudio" in notebook.read_text("utf-8")
