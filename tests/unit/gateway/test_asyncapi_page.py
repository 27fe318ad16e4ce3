from services.gateway.asyncapi_page import asyncapi_page

DOCUMENT = {
    "info": {"title": "Events <x>", "version": "1"},
    "channels": {
        "ingest": {
            "address": "rag.v1.ingest.{tenant}",
            "description": "What producers publish.",
            "messages": {"IngestMessage": {"$ref": "#/components/messages/IngestMessage"}},
        },
        "reply": {"address": None, "messages": {}},
    },
    "operations": {"publish": {"action": "send", "channel": {"$ref": "#/channels/ingest"}}},
    "components": {
        "messages": {
            "IngestMessage": {
                "name": "IngestMessage",
                "contentType": "application/json",
                "payload": {"$ref": "#/components/schemas/IngestMessage"},
            }
        },
        "schemas": {
            "IngestMessage": {
                "required": ["id"],
                "properties": {
                    "id": {"type": "string", "description": "<script>alert(1)</script>"},
                    "tags": {"type": "array", "items": {"$ref": "#/components/schemas/Tag"}},
                    "op": {"enum": ["upsert", "delete"]},
                },
            },
            "Tag": {"type": "string"},
        },
    },
    "x-streams": [{"name": "INGEST", "subjects": ["rag.v1.ingest.*"], "consumers": ["parser", "persistence-intake"]}],
}


def test_the_page_shows_channels_messages_and_fields() -> None:
    page = asyncapi_page(DOCUMENT)
    for part in (
        "<h3>rag.v1.ingest.{tenant}</h3>",
        '<span class="tag">send</span>',
        '<a href="#IngestMessage">IngestMessage</a>',
        "<td>id *</td><td>string</td>",
        'list of <a href="#Tag">Tag</a>',
        "<code>upsert</code> | <code>delete</code>",
        "<td>parser, persistence-intake</td>",
    ):
        assert part in page


def test_text_of_the_contract_is_never_read_as_html() -> None:
    page = asyncapi_page(DOCUMENT)
    assert "<script" not in page
    assert "Events &lt;x&gt;" in page


def test_a_channel_without_an_address_is_left_out() -> None:
    assert "None" not in asyncapi_page(DOCUMENT)


def test_nothing_is_loaded_from_elsewhere() -> None:
    assert "http" not in asyncapi_page(DOCUMENT)
