"""The whole platform with mutual TLS to its broker."""

import os
import signal
from pathlib import Path

import httpx
import psutil
import pytest

from tests.certificates import Authority
from tests.e2e.test_documents_to_answers import upsert
from tests.platform_process import running_platform, wait_until


@pytest.mark.extended
@pytest.mark.timeout(180)
def test_documents_come_through_and_services_come_back_after_the_broker_died(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    broker, services = authority.certificate("broker"), authority.certificate("services")
    settings = {
        "RAG_UP_NATS_TLS_CERT": str(broker.cert),
        "RAG_UP_NATS_TLS_KEY": str(broker.key),
        "RAG_NATS_TLS_CA": str(authority.ca),
        "RAG_NATS_TLS_CERT": str(services.cert),
        "RAG_NATS_TLS_KEY": str(services.key),
    }
    with running_platform(tmp_path / "data", **settings) as platform:
        assert platform.nats_url.startswith("tls://127.0.0.1:")
        with httpx.Client(base_url=platform.url, timeout=90) as api:
            upsert(api, {"id": "before", "text": "The harbour of Lindby opened in 1887."})
            before = platform.ready["pids"]["nats-server"]
            os.kill(before, signal.SIGKILL)
            wait_until(lambda: not psutil.pid_exists(before), "the broker is gone")
            wait_until(lambda: api.get("/ready").status_code == 200, "the gateway is back", 60)
            upsert(api, {"id": "after", "text": "The lighthouse of Lindby was built by Greta Holm."})
