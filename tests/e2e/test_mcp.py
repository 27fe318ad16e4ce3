"""The tools of `/mcp` on the whole platform, with the official client."""

import pytest
from mcp import Client

from tests.integration.mcp_stand import text_of
from tests.platform_process import RunningPlatform

TEXT = "The lighthouse of Westkapelle is called Noorderhoofd. It was built in 1875 and is sixteen metres high."


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_text_is_kept_found_and_cited(platform: RunningPlatform, mode: str) -> None:
    document = {"id": f"lighthouse-{mode}", "collection": f"coast-{mode}", "metadata": {"built": 1875}}
    async with Client(f"{platform.url}/mcp", mode=mode) as client:
        kept = await client.call_tool("ingest_text", {"text": TEXT, "wait_s": 60, **document})
        found = await client.call_tool(
            "search",
            {"query": "how high is the lighthouse?", "collection": document["collection"], "filter": {"built": 1875}},
        )
        answer = await client.call_tool(
            "ask", {"question": "In which year was the lighthouse built?", "collection": document["collection"]}
        )
        seen = await client.call_tool("get_document", {"id": document["id"]})
        refused = await client.call_tool("search", {"query": "x", "filter": {"built": {"gt": []}}})
    assert kept.structured_content["status"] == "indexed", text_of(kept)
    assert found.structured_content["hits"][0]["document_id"] == document["id"]
    assert "sixteen metres" in text_of(found)
    assert answer.structured_content["answered"] is True, text_of(answer)
    assert "1875" in " ".join(citation["quote"] for citation in answer.structured_content["citations"])
    assert seen.structured_content["metadata"] == {"built": 1875}
    assert [passage["text"] for passage in seen.structured_content["passages"]] == [TEXT]
    assert refused.is_error
    assert "`filter" in text_of(refused)
