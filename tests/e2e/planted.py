"""Secrets and texts that a test plants, and every place where a platform could tell them."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.platform_process import RunningPlatform, rag

LLM_KEY = "planted-key-of-the-language-model"
EMBEDDING_KEY = "planted-key-of-the-embedding-endpoint"
REDIS_PASSWORD = "plantedredispassword"
WRONG_KEY = "planted-key-of-a-caller"
PEPPER = "planted-pepper-that-keys-are-hashed-with"
TEXT = "plantedtext"
TITLE = "plantedtitle"
VALUE = "plantedvalue"
QUESTION = "plantedquestion"
ANSWER = "plantedanswer"
COMMENT = "plantedcomment"
RUBBISH = "plantedrubbish"

CONTENT = (TEXT, TITLE, VALUE, QUESTION, ANSWER, COMMENT, RUBBISH)


def found_in(place: str, text: str, planted: Iterable[str]) -> list[str]:
    """Return what of the planted a text holds, each with where it stands."""
    lower = text.lower()
    spots = ((one, lower.find(one.lower())) for one in planted)
    return [f"{one} in {place}: …{text[max(0, at - 200) : at + 100]}…" for one, at in spots if at >= 0]


def log_texts(platform: RunningPlatform) -> Iterator[tuple[str, str]]:
    """Yield every log file, and what the launcher wrote to the terminal."""
    for path in sorted((platform.data / "logs").iterdir()):
        yield path.name, path.read_text(encoding="utf-8", errors="replace")
    yield "the terminal", "".join(platform.log)


def span_texts(http: httpx.Client) -> Iterator[tuple[str, str]]:
    """Yield every trace that the span store holds."""
    cursor: str | None = None
    while True:
        page = http.get("/v1/traces", params={"limit": 500, **({"cursor": cursor} if cursor else {})}).json()
        for item in page["items"]:
            yield f"trace {item['trace_id']}", http.get(f"/v1/traces/{item['trace_id']}").text
        cursor = page["next_cursor"]
        if cursor is None:
            return


def metric_texts(platform: RunningPlatform) -> Iterator[tuple[str, str]]:
    """Yield what every process tells a scraper, and of its health."""
    for name, url in platform.ready["health"].items():
        for path in ("/metrics", "/health/detailed", "/ready", "/live"):
            yield f"{name}{path}", httpx.get(f"{url}{path}", timeout=20).text


def command_texts(platform: RunningPlatform, key: str, *commands: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield what the commands for operators print, for people and for programs."""
    for command in commands:
        for form in ((), ("--json",)):
            done = rag(*form, *command, url=platform.url, settings={"RAG_API_KEY": key})
            yield " ".join(("rag", *form, *command)), done.stdout + done.stderr


def process_texts(platform: RunningPlatform) -> Iterator[tuple[str, str]]:
    """Yield the command lines, which every user of the machine can read."""
    for process in platform.processes():
        yield f"the command line of {process.pid}", " ".join(process.cmdline())


def letters_of(http: httpx.Client) -> list[dict[str, Any]]:
    """Return the dead letters without what they keep by design: the payload and the headers as they came."""
    items = http.get("/v1/admin/dead-letters", params={"limit": 500}).json()["items"]
    return [{name: value for name, value in item.items() if name not in ("payload", "headers")} for item in items]


def letter_texts(http: httpx.Client) -> Iterator[tuple[str, str]]:
    """Yield what dead letters say of their error."""
    for letter in letters_of(http):
        yield f"dead letter {letter['seq']}", json.dumps(letter)


def secret_files(folder: Path, **values: str) -> dict[str, str]:
    """Write each value to a file and return the settings that name the files."""
    settings = {}
    for name, value in values.items():
        path = folder / name
        path.write_text(value + "\n")
        settings[f"RAG_{name.upper()}_FILE"] = str(path)
    return settings
