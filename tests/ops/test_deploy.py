"""Dashboard, Prometheus rules, systemd units and container files agree with the program."""

import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from heygem.ops import machine, metrics

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "heygem.json").read_text())
RULES = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
UNITS = sorted((DEPLOY / "systemd").glob("*.service")) + sorted(
    (DEPLOY / "systemd").glob("*.timer")
)


def queries():
    """Every query of dashboard and rules, without those of panels that need a GPU."""
    panels = [t["expr"] for panel in DASHBOARD["panels"] for t in panel["targets"]]
    return panels + [rule["expr"] for group in RULES["groups"] for rule in group["rules"]]


@pytest.fixture
def full(queue, night, add, monkeypatch):
    """A queue in which every metric has a value, on a machine with a GPU."""
    gpu = machine.Gpu("0", "A100", 0.5, 1e9, 4e10, 50)
    monkeypatch.setattr(machine, "gpus", lambda: [gpu])
    monkeypatch.setattr(metrics.report, "ledger_state", lambda: "verified, 3 rows")
    queue.claim("w1")
    return queue


def test_the_dashboard_has_distinct_panels_that_do_not_overlap():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 10
    cells = set()
    for panel in panels:
        assert panel["title"] and panel["targets"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & own, panel["title"]
        cells |= own
    (variable,) = DASHBOARD["templating"]["list"]
    assert variable["name"] == "datasource" and variable["query"] == "prometheus"


def test_grafanas_own_library_reads_the_dashboard_without_a_loss():
    pytest.importorskip("grafana_foundation_sdk", reason="Grafana's SDK is not installed")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    written = json.loads(JSONEncoder().encode(Dashboard.from_json(DASHBOARD)))

    def lost(before, after, place="dashboard"):
        if isinstance(before, dict) and isinstance(after, dict):
            for key, value in before.items():
                yield from lost(value, after.get(key), f"{place}.{key}")
        elif isinstance(before, list) and isinstance(after, list):
            assert len(before) == len(after), place
            for number, pair in enumerate(zip(before, after, strict=True)):
                yield from lost(*pair, f"{place}[{number}]")
        elif before != after:
            yield place

    assert list(lost(DASHBOARD, written)) == []


def test_every_metric_of_the_queries_is_exported_with_its_labels(full):
    text = generate_latest(metrics.registry(full.path)).decode()
    names, labels = set(), {"le", "job"}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            names.add(sample.name)
            labels |= set(sample.labels)
    for query in queries():
        used = set(re.findall(r"heygem_\w+", query.replace('"heygem"', "")))
        assert used and used <= names, query
        by = re.findall(r"by \(([^)]*)\)", query)
        matched = re.findall(r"(\w+)\s*=~?\s*\"", query)
        assert {name.strip() for part in by for name in part.split(",")} | set(matched) <= labels


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("prometheus"), reason="Prometheus is not installed")
def test_a_real_prometheus_answers_every_query(full, tmp_path):
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    server, thread = metrics.serve(ports[0], full.path)
    config = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    config = config.replace("127.0.0.1:9464", f"127.0.0.1:{ports[0]}")
    config = config.replace("30s", "1s").replace("scrape_timeout: 20s", "scrape_timeout: 1s")
    (tmp_path / "prometheus.yml").write_text(config)
    shutil.copy(DEPLOY / "prometheus" / "rules.yml", tmp_path)
    command = ["prometheus", f"--config.file={tmp_path / 'prometheus.yml'}"]
    command += [f"--storage.tsdb.path={tmp_path / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{ports[1]}", "--log.level=error"]
    with subprocess.Popen(command) as process:
        try:
            address = f"http://127.0.0.1:{ports[1]}/api/v1/query?"

            def ask(query):
                data = urllib.parse.urlencode({"query": query})
                with urllib.request.urlopen(address + data) as answer:
                    return json.load(answer)

            for _ in range(300):
                try:
                    if ask("count_over_time(heygem_up[1h]) >= 3")["data"]["result"]:
                        break
                except (urllib.error.URLError, ConnectionError):
                    pass
                time.sleep(0.2)
            for query in queries():
                answer = ask(query)
                assert answer["status"] == "success" and "warnings" not in answer, query
            panels = {
                target["expr"]: ask(target["expr"])["data"]["result"]
                for panel in DASHBOARD["panels"]
                for target in panel["targets"]
            }
            assert [query for query, result in panels.items() if not result] == []
        finally:
            process.terminate()
            server.shutdown()
            thread.join()
            server.server_close()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_accepts_the_units(tmp_path):
    for unit in UNITS:
        text = unit.read_text().replace("/opt/heygem/.venv/bin/heygem", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def commands():
    """The commands of heygem in units and services, as lists of words."""
    found = []
    for unit in UNITS:
        for command in re.findall(r"bin/heygem (.*)", unit.read_text()):
            found.append(shlex.split(command.rstrip("'")))
    for service in COMPOSE["services"].values():
        assert service["command"][0] == "heygem"
        found.append(service["command"][1:])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_a_command_of_units_and_services_exists_with_its_options(command):
    import typer

    from heygem.cli.main import app

    found = typer.main.get_command(app)
    words = list(command)
    while hasattr(found, "commands"):
        found = found.commands[words.pop(0)]
    options = {text for each in found.params for text in (*each.opts, *each.secondary_opts)}
    assert {word for word in words if word.startswith("-")} <= options


def test_containers_run_without_rights_on_a_read_only_root():
    for name, service in COMPOSE["services"].items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert service["user"] == "10001:10001"
        assert "no-new-privileges:true" in service["security_opt"]
        assert "ports" not in service  # nothing listens beyond loopback
    volumes = {volume.split(":")[1] for volume in COMPOSE["services"]["worker"]["volumes"]}
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert set(json.loads(re.search(r"^VOLUME (.*)$", dockerfile, re.M)[1])) == volumes
    assert re.findall(r"^USER (.*)$", dockerfile, re.M)[-1] == "10001:10001"
    assert "HEALTHCHECK" in dockerfile


def test_the_dockerfile_copies_what_is_there_and_what_the_builder_is_sent():
    sent = (ROOT / ".dockerignore").read_text().splitlines()
    for line in re.findall(r"^COPY (?!--from)(.*)$", (ROOT / "Dockerfile").read_text(), re.M):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists() and f"!{source}" in sent, source
    assert (
        shutil.which("sh") is None
        or subprocess.run(["sh", "-n", ROOT / "deploy" / "container" / "entrypoint.sh"]).returncode
        == 0
    )


def test_the_pinned_pytorch_is_the_one_that_the_dockerfile_installs():
    pins = (ROOT / "constraints" / "base.txt").read_text()
    assert len(re.findall(r"^torch==\S+$", pins, re.M)) == 1
    assert sys.version_info >= (3, 11)
