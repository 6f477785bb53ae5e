"""What stands in deploy/, the container and Compose fit the proxy."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from ccproxy import Settings, create_app
from ccproxy.serving.running import server_grace
from support.paths import ROOT

SETTINGS = Settings.explicit(openai_api_key="none")
UNIT = (ROOT / "deploy/cc-boost.service").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DEPLOYMENT, SERVICE = yaml.safe_load_all((ROOT / "deploy/kubernetes.yaml").read_text())
POD = DEPLOYMENT["spec"]["template"]["spec"]
[CONTAINER] = POD["containers"]

LONGEST_END = server_grace(SETTINGS)
"""Seconds from a SIGTERM until the process is gone, at most."""


def unit_value(name: str) -> str:
    [value] = re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)
    return str(value)


def test_whatever_ends_the_process_lets_running_answers_finish() -> None:
    assert unit_value("KillSignal") == "SIGTERM"
    assert unit_value("KillMode") == "mixed"
    assert int(unit_value("TimeoutStopSec")) > LONGEST_END
    assert int(COMPOSE["services"]["cc-boost"]["stop_grace_period"].removesuffix("s")) > LONGEST_END
    command, seconds = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    assert POD["terminationGracePeriodSeconds"] > int(seconds) + LONGEST_END
    told = (ROOT / "docs/production.md").read_text()
    for value in (unit_value("TimeoutStopSec"), POD["terminationGracePeriodSeconds"]):
        assert f"| {value} s |" in told
    assert f"| {COMPOSE['services']['cc-boost']['stop_grace_period'].removesuffix('s')} s |" in told


def test_unit_is_valid(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "cc-boost.service"
    installed = UNIT.replace("/opt/cc-boost/.venv/bin/gunicorn", str(Path(sys.executable).parent / "gunicorn"))
    assert installed != UNIT
    unit.write_text(installed)
    done = subprocess.run([program, "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "cc-boost" in line]) == (0, [])


def test_probes_ask_a_page_that_there_is() -> None:
    paths = {getattr(route, "path", None) for route in create_app(SETTINGS).routes}
    [port] = CONTAINER["ports"]
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = CONTAINER[name]["httpGet"]
        assert probe["path"] in paths
        assert probe["port"] == port["name"]
    [served] = SERVICE["spec"]["ports"]
    assert served["targetPort"] == port["name"]
    assert port["containerPort"] == SETTINGS.port
    assert str(SETTINGS.port) in DEPLOYMENT["spec"]["template"]["metadata"]["annotations"].values()


def test_manifest_selects_its_own_pods() -> None:
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    assert DEPLOYMENT["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert SERVICE["spec"]["selector"].items() <= labels.items()


def test_manifest_gives_the_pod_no_rights() -> None:
    inside, pod = CONTAINER["securityContext"], POD["securityContext"]
    assert inside["readOnlyRootFilesystem"] is True
    assert inside["allowPrivilegeEscalation"] is False
    assert inside["capabilities"] == {"drop": ["ALL"]}
    assert pod["runAsNonRoot"] is True
    assert f"--uid {pod['runAsUser']} " in DOCKERFILE  # a number, since Kubernetes can't tell who "ccproxy" is
    [volume] = POD["volumes"]
    assert CONTAINER["volumeMounts"] == [{"name": volume["name"], "mountPath": "/tmp"}]  # noqa: S108
    assert "emptyDir" in volume


def test_environments_of_containers_are_settings() -> None:
    known = {name.upper() for name in Settings.model_fields} | {"WEB_CONCURRENCY"}
    named = {variable["name"] for variable in CONTAINER["env"]}
    assert named | COMPOSE["services"]["cc-boost"]["environment"].keys() <= known
    assert CONTAINER["envFrom"] == [{"secretRef": {"name": "cc-boost"}}]
    assert COMPOSE["secrets"]["cc-boost-key"]["environment"].lower() in Settings.model_fields


def test_image_runs_without_rights_and_tells_its_health() -> None:
    assert re.search(r"^USER 10001$", DOCKERFILE, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .*'/health'", DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert re.search(r'^CMD \["gunicorn",', DOCKERFILE, re.MULTILINE), "not the exec form: SIGTERM meets a shell"


def test_image_is_given_the_files_that_it_copies() -> None:
    allowed = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = [name for line in re.findall(r"^COPY ([^-].*) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()]
    assert sorted(allowed) == sorted(copied)
    assert all((ROOT / name).exists() for name in copied)


def test_compose_publishes_on_this_machine_only() -> None:
    for service in COMPOSE["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_monitoring_finds_its_files_and_its_targets() -> None:
    services: dict[str, Any] = COMPOSE["services"]
    places = {}
    for name in ("prometheus", "grafana"):
        assert services[name]["profiles"] == ["monitoring"]
        for volume in services[name]["volumes"]:
            here, there, mode = volume.split(":")
            assert (ROOT / here).is_file()
            assert mode == "ro"
            places[there] = ROOT / here
    [job] = yaml.safe_load(places["/etc/prometheus/prometheus.yml"].read_text())["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"cc-boost:{SETTINGS.port}"]}]
    assert job["authorization"]["credentials_file"] == f"/run/secrets/{services['prometheus']['secrets'][0]}"
    [source] = yaml.safe_load(places["/etc/grafana/provisioning/datasources/cc-boost.yml"].read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    [found] = yaml.safe_load(places["/etc/grafana/provisioning/dashboards/cc-boost.yml"].read_text())["providers"]
    assert Path(found["options"]["path"]) in {there.parent for there in map(Path, places)}


def test_panels_without_a_series_show_0() -> None:
    dashboard = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text())
    for panel in dashboard["panels"]:
        assert panel["fieldConfig"]["defaults"]["noValue"] == "0", panel["title"]
        for target in panel["targets"]:
            assert target["expr"].endswith(" or on() vector(0)"), panel["title"]


def test_container_reaches_the_host_by_the_name_that_the_docs_give() -> None:
    assert COMPOSE["services"]["cc-boost"]["extra_hosts"] == ["host.docker.internal:host-gateway"]
    assert "http://host.docker.internal:11434/v1" in (ROOT / "docs/production.md").read_text()


def test_dockerfile_is_clean() -> None:
    program = shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([program, str(ROOT / "Dockerfile")], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("", 0)


def test_what_the_service_may_use_is_limited() -> None:
    service = COMPOSE["services"]["cc-boost"]
    assert re.fullmatch(r"\d+[GM]", unit_value("MemoryMax"))
    assert re.fullmatch(r"\d+m", service["mem_limit"])
    assert CONTAINER["resources"]["limits"]["memory"]
    assert int(unit_value("LimitNOFILE")) == service["ulimits"]["nofile"] > 1024
    assert service["pids_limit"]


def test_shared_state_is_reached_by_the_proxy_alone() -> None:
    service = COMPOSE["services"]["state"]
    assert service["profiles"] == ["state"]
    assert service["ports"] == []
    deployment, server, policy = yaml.safe_load_all((ROOT / "deploy/kubernetes-state.yaml").read_text())
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for selector in (deployment["spec"]["selector"], policy["spec"]["podSelector"]):
        assert selector["matchLabels"].items() <= labels.items()
    assert server["spec"]["selector"].items() <= labels.items()
    [allowed] = policy["spec"]["ingress"]
    [peer] = allowed["from"]
    proxies = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    assert peer["podSelector"]["matchLabels"].items() <= proxies.items()
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == service["image"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    for url in ("redis://state:6379", f"redis://{server['metadata']['name']}:6379"):
        assert Settings.explicit(openai_api_key="none", state_url=url).state_url is not None
    assert f"redis://{server['metadata']['name']}:6379" in (ROOT / "deploy/kubernetes-state.yaml").read_text()


def test_container_has_the_packages_for_a_shared_state_and_a_database() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    for package in ("limits", "redis", "psycopg", "sqlalchemy"):
        assert re.search(rf"^{package}==", lock, re.MULTILINE), package
