import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.docker.images import DOCKERFILE, targets
from tests.unit.deploy.locks import PROJECT, declared, pins

IMAGES = targets((PROJECT / DOCKERFILE).read_text())
LEVELS = ["installer", "runtime", "dev", "llm", "tools", *IMAGES]


def test_tests_run_with_the_very_versions_that_users_get() -> None:
    tested = pins("dev")
    assert {name: tested.get(name) for name in pins("runtime")} == pins("runtime")


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_has_the_very_versions_that_are_tested(image: str) -> None:
    everything = pins("runtime")
    assert {name: everything.get(name) for name in pins(image)} == pins(image)


@pytest.mark.parametrize("level", LEVELS)
def test_every_declared_dependency_is_locked_at_a_version_it_allows(level: str) -> None:
    """Fails when pyproject.toml was changed without `make lock`."""
    locked = pins(level)
    for requirement in map(Requirement, declared(level)):
        version, _hashes = locked[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), requirement


@pytest.mark.parametrize("level", LEVELS)
def test_no_package_index_is_written_into_the_locks(level: str) -> None:
    assert not re.search(r"://|^-", (PROJECT / "requirements" / f"{level}.txt").read_text(), re.MULTILINE)


def test_make_lock_makes_the_lock_of_every_image() -> None:
    line = re.search(r"^IMAGES_WITH_LOCK := (.*)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert line is not None
    assert line[1].split() == IMAGES
