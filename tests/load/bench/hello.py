"""A bare FastAPI route on the server and the settings of the platform's own, in a process of its own.

    python -m tests.load.bench.hello

Prints its address; ends when standard input does.
"""

import sys
import threading
from typing import Final

import uvicorn
from fastapi import FastAPI

from shared.http_protocol import bounded_protocol
from shared.settings import PlatformSettings
from tests.load.bench.lines import say
from tests.servers import free_port

HOST: Final = "127.0.0.1"


def build_app() -> FastAPI:
    """Return an app with one route that does nothing."""
    app = FastAPI()

    @app.get("/hello")
    async def hello() -> dict[str, str]:
        return {"hello": "world"}

    return app


def main() -> None:
    """Serve."""
    settings = PlatformSettings()
    config = uvicorn.Config(
        build_app(),
        host=HOST,
        port=free_port(),
        http=bounded_protocol(max_head_bytes=settings.http_max_head_bytes, head_seconds=settings.http_head_seconds),
        log_config=None,
        access_log=False,
        server_header=False,
    )
    server = uvicorn.Server(config)

    def end() -> None:
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=end, daemon=True).start()
    say(f"http://{HOST}:{config.port}")
    server.run()


if __name__ == "__main__":
    main()
