import gzip
import hashlib
import re
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from services.gateway.console import CONSOLE_FOLDER, Console
from services.gateway.problems import install_problems
from services.gateway.routes.console import router

SCRIPTS = sorted(path.relative_to(CONSOLE_FOLDER).as_posix() for path in CONSOLE_FOLDER.rglob("*.js"))
OWN_SCRIPTS = [name for name in SCRIPTS if not name.startswith("vendor/")]
# Ways to make markup or code of text; the policy of the page refuses them as well.
UNSAFE = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|\.srcdoc|localStorage.*key\b"
)
IMPORTED = re.compile(r"""(?:from|import)\s*\(?\s*["'](\.[^"']+)["']""")


@pytest.fixture
async def http() -> httpx.AsyncClient:
    app = FastAPI(docs_url=None)
    app.include_router(router)
    install_problems(app)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://rag")


async def test_the_page_may_run_its_own_files_alone(http: httpx.AsyncClient) -> None:
    reply = await http.get("/")
    policy = reply.headers["content-security-policy"]
    assert reply.headers["content-type"].startswith("text/html")
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|style=", reply.text)


async def test_every_file_that_the_page_names_is_there(http: httpx.AsyncClient) -> None:
    found = re.findall(r'(?:src|href)="(console/[^"]+)"', (await http.get("/")).text)
    assert "console/app.js" in found
    for name in found:
        assert (await http.get(f"/{name}")).status_code == 200, name


@pytest.mark.parametrize("name", OWN_SCRIPTS)
def test_every_module_that_a_script_imports_is_there_and_no_text_becomes_markup(name: str) -> None:
    text = (CONSOLE_FOLDER / name).read_text()
    for imported in IMPORTED.findall(text):
        assert (CONSOLE_FOLDER / name).parent.joinpath(imported).resolve().is_file(), imported
    assert not UNSAFE.search(text)


async def test_a_browser_that_has_a_file_is_told_so_in_a_few_bytes(http: httpx.AsyncClient) -> None:
    first = await http.get("/console/app.js")
    assert first.headers["content-type"].startswith("text/javascript")
    assert (first.headers["cache-control"], first.headers["content-encoding"]) == ("no-cache", "gzip")
    again = await http.get("/console/app.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    plain = await http.get("/console/app.js", headers={"Accept-Encoding": "identity"})
    assert plain.content == first.content == (CONSOLE_FOLDER / "app.js").read_bytes()


@pytest.mark.parametrize(
    "name",
    ["../settings.py", "%2e%2e/settings.py", "..%2fgateway%2fapp.py", "/etc/passwd", "", "nothing.js", "README.md"],
)
async def test_nothing_beside_the_files_is_served(http: httpx.AsyncClient, name: str) -> None:
    reply = await http.get(f"/console/{name}")
    assert (reply.status_code, reply.headers["content-type"]) == (404, "application/problem+json")


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside.js").write_text("secret")
    folder = tmp_path / "console"
    folder.mkdir()
    (folder / "linked.js").symlink_to(tmp_path / "outside.js")
    with pytest.raises(ValueError, match=r"linked\.js"):
        Console(folder)


def test_vendored_libraries_are_what_their_packages_hold() -> None:
    vendor = CONSOLE_FOLDER / "vendor"
    lines = (vendor / "SHA256SUMS").read_text().splitlines()
    listed = {name: digest for digest, name in (line.split() for line in lines)}
    assert {path.name for path in vendor.iterdir()} - {"README.md", "SHA256SUMS"} == set(listed)
    for name, digest in listed.items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest, name


def test_all_files_together_are_small() -> None:
    """The bound of what a first view transfers holds even for somebody who opens every view at once."""
    packed = sum(
        len(gzip.compress(path.read_bytes()))
        for path in CONSOLE_FOLDER.rglob("*")
        if path.suffix in {".js", ".css", ".html", ".svg"}
    )
    assert packed <= 200_000
