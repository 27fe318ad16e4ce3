"""Row g: throughput with 1, 2, 4 and 8 replicas of embedder and agent, whose models are served somewhere else."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.load.bench.arithmetic import linear_share
from tests.load.bench.model_server import DIMENSION, MODEL
from tests.load.bench.row import Row, Yardstick, at_least
from tests.load.bench.stand import Platform, Stand, helper, run_client
from tests.load.overload import result_of
from tests.load.simulation import scale_out_rate
from tests.platform_process import wait_until

LETTER: Final = "g"
TITLE: Final = "throughput by replicas of embedder and agent"
SHARE: Final = 0.9
# Each request has a way to the endpoint and back, which the simulation knows nothing of.
PREDICTED_SHARE: Final = 0.85
COLLECTION: Final = "asked"
FLOOD: Final = "flood"
# Questions that a replica answers at the same time; few, so that the model's latency bounds it and no core does.
AGENT_WORKERS: Final = 2
ANSWER_LATENCIES: Final = 2.0
# Batches that an embedder has in flight, which is fixed in services/embedder/openai_embedding.py.
EMBEDDER_REQUESTS: Final = 4
CALLERS_PER_WORKER: Final = 3
WARM_UP_LATENCIES: Final = 6.0
START_SECONDS: Final = 180.0

Rates = dict[int, list[float]]


def measure(stand: Stand) -> list[Row]:
    """Return chunks and answers a second by the number of replicas."""
    chunks: Rates = defaultdict(list)
    answers: Rates = defaultdict(list)
    for number in range(stand.sizes.rounds):
        for replicas in stand.sizes.replicas:
            stand.say(f"g: round {number + 1}, {replicas} of each service")
            with scaled(stand, replicas, f"{number}-{replicas}") as platform:
                answers[replicas].append(_answers(stand, platform, replicas))
                chunks[replicas].append(_chunks(stand, platform, replicas))
    predicted = predictions(chunks, stand.sizes.stub_seconds)
    return [*rows("embedder", "chunks", chunks), *rows("agent", "answers", answers), *predicted]


def rows(service: str, what: str, rates: Rates) -> list[Row]:
    """Return a row for each number of replicas beside as many times the rate of the fewest, round by round."""
    fewest = min(rates)
    rounds = [
        linear_share({replicas: rates[replicas][each] for replicas in rates}) for each in range(len(rates[fewest]))
    ]
    found = []
    for replicas in sorted(rates):
        linear = tuple(rate / share[replicas] for rate, share in zip(rates[replicas], rounds, strict=True))
        beside = Yardstick(f"{replicas} times one replica", linear) if replicas > fewest else None
        name = f"{replicas} replica{'s' if replicas > 1 else ''} of {service}: {what} a second"
        limit = at_least(SHARE) if beside else None
        found.append(Row(LETTER, name, "/s", tuple(rates[replicas]), beside, limit=limit))
    return found


def predictions(chunks: Rates, seconds: float) -> list[Row]:
    """Return the embedder's rates beside what the simulation says of them, whose predictions rest on the same model."""
    found = []
    for replicas, rates in sorted(chunks.items()):
        told = scale_out_rate(replicas, EMBEDDER_REQUESTS, seconds)
        beside = Yardstick("predicted by the simulation", (told,) * len(rates))
        name = f"{replicas} replica{'s' if replicas > 1 else ''} of embedder: chunks a second, as predicted"
        found.append(Row(LETTER, name, "/s", tuple(rates), beside, limit=at_least(PREDICTED_SHARE)))
    return found


@contextmanager
def scaled(stand: Stand, replicas: int, name: str) -> Iterator[Platform]:
    """Run a platform with so many embedders and agents, whose models are served with a fixed latency."""
    latency = stand.sizes.stub_seconds
    times = ("--embedding-seconds", str(latency), "--answer-seconds", str(ANSWER_LATENCIES * latency))
    scale = ("--scale", f"embedder={replicas}", "--scale", f"agent={replicas}")
    with helper("model_server", *times) as models, stand.platform(*scale, name=name, **remote(models.url)) as platform:
        yield platform


def remote(urls: str) -> dict[str, str]:
    """Return the settings of a platform whose models are those of the model server."""
    embeddings, answers = urls.split()
    return {
        "RAG_EMBEDDING_URL": embeddings,
        "RAG_EMBEDDING_MODEL": MODEL,
        "RAG_EMBEDDING_DIMENSION": str(DIMENSION),
        "RAG_LLM_BASE_URL": answers,
        "RAG_LLM_MODEL": "scripted",
        "RAG_AGENT_WORKERS": str(AGENT_WORKERS),
        "RAG_ANSWER_CACHE": "false",
    }


def _answers(stand: Stand, platform: Platform, replicas: int) -> float:
    platform.fill(min(100, stand.sizes.documents), COLLECTION, sentences=4)
    body = f'{{"question": "{{}}", "collection": "{COLLECTION}", "stream": false}}'
    callers = CALLERS_PER_WORKER * AGENT_WORKERS * replicas
    warm_up = WARM_UP_LATENCIES * stand.sizes.stub_seconds
    size = ("--clients", str(callers), "--seconds", str(2 * stand.sizes.window_seconds), "--warm-up", str(warm_up))
    options = ("--path", "/v1/query", "--body", body, "--expect", '"answered":')
    found = run_client("http_client", "--url", platform.url, *options, *size)
    if found["errors"]:
        raise RuntimeError(f"questions failed: {found['errors']}")
    return float(found["per_second"])


def _chunks(stand: Stand, platform: Platform, replicas: int) -> float:
    """Send more than all replicas embed in the window, and count what comes out at the other end of it."""
    latency, seconds = stand.sizes.stub_seconds, 2 * stand.sizes.window_seconds
    expected = replicas * EMBEDDER_REQUESTS / latency
    before = platform.chunks()
    result_of(platform.publish(int(expected * (seconds + 60)), FLOOD, sentences=4), START_SECONDS)
    wait_until(lambda: platform.chunks() > before + expected * 2, "the flood has reached the index", START_SECONDS)
    first, started = platform.chunks(), time.monotonic()
    time.sleep(seconds)
    return (platform.chunks() - first) / (time.monotonic() - started)
