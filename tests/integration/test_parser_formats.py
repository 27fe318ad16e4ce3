"""Every textual format inside the sandbox: what a library loads late or opens by itself fails only there."""

import base64
import io
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.parser.jobs import ExtractionJob
from services.parser.sandbox import Sandbox, SandboxOptions
from tests.unit.parser.compound_file import compound_file
from tests.unit.parser.small_tokenizer import save_small_tokenizer

HEAD = "From: Ann <ann@x.example>\nSubject: =?koi8-r?Q?=F0=CC=C1=CE?=\nMIME-Version: 1.0\n"
ATTACHED = base64.encodebytes(b"{\\rtf1\\ansi\\ansicpg1251 The pump \\'cf starts.\\par}").decode()
MAIL = (
    f"{HEAD}Content-Type: multipart/mixed; boundary=b\n\n--b\n\nSee the file.\n"
    f"--b\nContent-Type: application/rtf; name=a.rtf\nContent-Transfer-Encoding: base64\n\n{ATTACHED}\n--b--\n"
)


def book() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("mimetype", "application/epub+zip")
        archive.writestr("a.xhtml", "<?xml version='1.0'?><html><body><h1>A</h1><p>The pump starts.</p></body></html>")
    return buffer.getvalue()


DOCUMENTS = {
    "book.epub": book(),
    "data.csv": b"machine,state\npump,The pump starts.\n",
    "data.json": b'{"pump": {"state": "The pump starts."}}',
    "data.xml": b"<?xml version='1.0' encoding='koi8-r'?><r><p>The pump starts.</p></r>",
    "mail.eml": MAIL.encode(),
    "mail.msg": compound_file(
        {"__properties_version1.0": b"\0" * 32, "__substg1.0_1000001F": "The pump starts.".encode("utf-16-le")}
    ),
    "notebook.ipynb": json.dumps(
        {"cells": [{"cell_type": "markdown", "source": "The pump starts."}], "nbformat": 4}
    ).encode(),
    "notes.org": b"* Pump\nThe pump starts.\n",
    "notes.rst": b"Pump\n====\n\nThe pump starts.\n",
    "text.rtf": rb"{\rtf1{\fonttbl{\f0\fcharset128 A;}}\f0 The pump starts.\'82\'a0\par}",
    "utf-16.txt": "The pump starts.".encode("utf-16"),
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
async def sandbox(tokenizer: Path) -> AsyncIterator[Sandbox]:
    async with Sandbox(tokenizer, SandboxOptions(spares=0)) as sandbox:
        yield sandbox


async def test_one_child_reads_every_format(sandbox: Sandbox) -> None:
    children = set()
    for name, content in DOCUMENTS.items():
        async with sandbox.extract(ExtractionJob(content, filename=name)) as stream:
            texts = [chunk.text async for batch in stream for chunk in batch.chunks]
            children.add(stream.child_pid)
        assert "pump" in "\n".join(texts), name
    assert len(children) == 1
