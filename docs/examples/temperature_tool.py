"""A tool for the agent: `python docs/examples/temperature_tool.py nats://user:password@127.0.0.1:4222`.

Start the agent with RAG_AGENT_TOOLS=temperature; it finds the tool by itself.
"""

import asyncio
import json
import sys

import nats
from nats.micro import add_service
from nats.micro.request import Request

MEASURED = {"lindby": 21.5, "ystad": 19.0}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "Name of the city."}},
    "required": ["city"],
}


async def answer(request: Request) -> None:
    city = json.loads(request.data)["city"]
    if city.lower() not in MEASURED:
        await request.respond_error("404", f"no thermometer in {city}; there is one in Lindby and in Ystad")
        return
    await request.respond(json.dumps({"city": city, "celsius": MEASURED[city.lower()]}).encode())


async def serve(url: str) -> None:
    client = await nats.connect(url)
    service = await add_service(client, name="thermometers", version="1.0.0")
    metadata = {"schema": json.dumps(SCHEMA), "description": "The temperature in a city right now."}
    await service.add_endpoint(
        name="temperature", subject="rag.v1.tools.temperature", handler=answer, metadata=metadata
    )
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
