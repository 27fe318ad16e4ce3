"""Updates and deletes through the running platform, while somebody searches without a pause."""

import re
import threading
from collections import defaultdict
from typing import Any

import httpx

from tests.platform_process import RunningPlatform

COLLECTION = "tides"
DOCUMENTS = 3
UPDATES = 4
# Long enough for several chunks, so that a result could mix revisions at all.
PARAGRAPHS = 4
_VERSION = re.compile(r"edition (\d+)")


def document(number: int, edition: int) -> dict[str, str]:
    lines = [f"The tide table of harbour {number}, edition {edition}, page {n}. " * 12 for n in range(PARAGRAPHS)]
    return {"id": f"tide{number}", "collection": COLLECTION, "text": "\n\n".join(lines)}


class Searcher(threading.Thread):
    """Searches until it is stopped; judges every answer by what was acknowledged before it was asked for."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.searches = 0
        self.problems: list[str] = []
        self.deleted: dict[str, int] = {}
        self._seen: defaultdict[str, int] = defaultdict(int)
        self._url = url
        self._stopped = threading.Event()

    def run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=30) as client:
            while not self._stopped.is_set():
                gone = dict(self.deleted)
                body = {"query": "tide table of the harbour", "collection": COLLECTION, "top_k": 100}
                reply = client.post("/v1/search", json=body)
                if reply.status_code != 200:
                    self.problems.append(f"search {self.searches}: {reply.status_code} {reply.text}")
                    continue
                self._judge(reply.json()["hits"], gone)
                self.searches += 1

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def _judge(self, hits: list[dict[str, Any]], gone: dict[str, int]) -> None:
        shown: defaultdict[str, set[int]] = defaultdict(set)
        for hit in hits:
            shown[hit["document_id"]] |= {int(found) for found in _VERSION.findall(hit["text"])}
        for name, editions in shown.items():
            if len(editions) != 1:
                self.problems.append(f"{name} shows editions {editions} at once")
            if min(editions) <= gone.get(name, -1):
                self.problems.append(f"{name} shows edition {editions} after its delete")
            if max(editions) < self._seen[name]:
                self.problems.append(f"{name} went back from {self._seen[name]} to {editions}")
            self._seen[name] = max(editions)


def send(api: httpx.Client, *documents: dict[str, str], wait_s: float = 60) -> None:
    reply = api.post("/v1/documents", json={"documents": documents}, params={"wait_s": wait_s})
    assert reply.status_code == 202, reply.text


def test_every_search_shows_one_edition_and_nothing_that_was_deleted(
    platform: RunningPlatform, api: httpx.Client
) -> None:
    """INVARIANT: the later write wins, no result mixes revisions, and deleted is gone as soon as it is acknowledged.

    Half of the updates are sent without waiting, so that deletes fall into work that is on its way.
    """
    numbers = range(DOCUMENTS)
    send(api, *(document(number, 1) for number in numbers))
    searcher = Searcher(platform.url)
    searcher.start()
    try:
        for edition in range(2, 2 + UPDATES):
            send(api, *(document(number, edition) for number in numbers), wait_s=60 if edition % 2 else 0)
            name = f"tide{edition % DOCUMENTS}"
            assert api.delete(f"/v1/documents/{name}").status_code == 202
            searcher.deleted[name] = edition
        assert api.delete(f"/v1/collections/{COLLECTION}").status_code == 202
        searcher.deleted = dict.fromkeys((f"tide{number}" for number in numbers), 1 + UPDATES)
        send(api, document(0, 100))
    finally:
        searcher.stop()
    assert searcher.problems == []
    assert searcher.searches > 20
    hits = api.post("/v1/search", json={"query": "tide table", "collection": COLLECTION}).json()["hits"]
    assert {hit["document_id"] for hit in hits} == {"tide0"}
