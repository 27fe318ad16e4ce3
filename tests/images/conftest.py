import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.docker.images import DOCKERFILE, ROOT, Builder, Source, build, find_builder, targets
from deploy.local.errors import SetupError
from tests.images.containers import Images

# Where no registry is reachable, made once by the script that is there for it.
FALLBACK = "localhost/rag-base:test"


@pytest.fixture(scope="session")
def builder() -> Builder:
    try:
        found = find_builder(os.environ)
    except SetupError as error:
        pytest.skip(str(error))
    if found.timestamp_option is not None and os.geteuid() != 0:
        pytest.skip("buildah builds without namespaces as root only")
    return found


@pytest.fixture(scope="session")
def images(builder: Builder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    """Every image, built from this checkout; BASE names the base, and has to when Docker is to build on another one."""
    environment = {**os.environ}
    if builder.timestamp_option is not None and not environment.get("BASE"):
        environment["BASE"] = fallback_base(builder)
    source = Source.of(ROOT, environment)
    build(targets((ROOT / DOCKERFILE).read_text()), builder, source, environment)
    found = Images(builder, source, tmp_path_factory.mktemp("containers"))
    yield found
    found.close()


def fallback_base(builder: Builder) -> str:
    known = subprocess.run([*builder.command, "images", "--quiet", FALLBACK], capture_output=True, check=False)
    if known.returncode != 0:
        script = Path(ROOT) / "deploy" / "docker" / "base.sh"
        environment = {**os.environ, "BUILDAH": " ".join(builder.command)}
        subprocess.run([script, FALLBACK], check=True, env=environment, stdout=sys.stderr)
    return FALLBACK
