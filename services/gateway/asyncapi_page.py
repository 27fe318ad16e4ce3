"""An AsyncAPI 3 document as one plain page without scripts."""

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any, Final

Document = Mapping[str, Any]

_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h2{margin-top:2.5rem;border-bottom:1px solid #ccc}h3{margin:1.8rem 0 .3rem;font-family:ui-monospace,monospace}
table{border-collapse:collapse;width:100%;margin:.5rem 0}td,th{text-align:left;vertical-align:top;
padding:.25rem .6rem;border-bottom:1px solid #e4e4e4}code{font-family:ui-monospace,monospace}
.tag{font-size:.8rem;padding:.1rem .5rem;border-radius:.6rem;background:#e8eefc;margin-right:.4rem}
@media(prefers-color-scheme:dark){body{background:#16181c;color:#ddd}td,th{border-color:#333}.tag{background:#2a3550}
a{color:#8ab4f8}}
"""


def asyncapi_page(document: Document) -> str:
    """Return the page: streams, channels with what is sent and answered on them, then every schema."""
    info = document.get("info", {})
    title = escape(str(info.get("title", "AsyncAPI")))
    sections = [*_streams(document), *_channels(document), *_schemas(document)]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f'<meta name="viewport" content="width=device-width"></head><body><h1>{title} '
        f"<small>{escape(str(info.get('version', '')))}</small></h1><p>{escape(str(info.get('description', '')))}</p>"
        f'<p><a href="asyncapi.json">asyncapi.json</a> · <a href="docs">HTTP API</a></p>{"".join(sections)}'
        "</body></html>"
    )


def _streams(document: Document) -> Iterator[str]:
    streams = document.get("x-streams", [])
    if streams:
        fields = ("name", "subjects", "retention", "whenFull", "consumers")
        rows = [[_listed(stream.get(name, "")) for name in fields] for stream in streams]
        yield "<h2>Streams</h2>" + _table(("stream", "subjects", "retention", "when full", "consumers"), rows)


def _channels(document: Document) -> Iterator[str]:
    yield "<h2>Channels</h2>"
    for key, channel in document.get("channels", {}).items():
        if channel.get("address") is None:
            continue
        yield f"<h3>{escape(str(channel['address']))}</h3>{_actions(document, key)}"
        yield f"<p>{escape(str(channel.get('description', '')))}</p>"
        yield _table(("message", "content type", "what it says"), _messages(document, channel))


def _actions(document: Document, channel: str) -> str:
    found = [item for item in document.get("operations", {}).values() if _last(item["channel"]) == channel]
    words = {"reply" if "reply" in item else str(item.get("action")) for item in found}
    return "".join(f'<span class="tag">{escape(word)}</span>' for word in sorted(words))


def _messages(document: Document, channel: Document) -> Iterator[tuple[object, ...]]:
    declared = document.get("components", {}).get("messages", {})
    for reference in channel.get("messages", {}).values():
        message = declared.get(_last(reference), reference)
        yield _link(message), message.get("contentType", ""), message.get("summary", "")


def _schemas(document: Document) -> Iterator[str]:
    yield "<h2>Schemas</h2>"
    for name, schema in document.get("components", {}).get("schemas", {}).items():
        required = set(schema.get("required", ()))
        rows = [
            (field + (" *" if field in required else ""), _type(part), part.get("description", ""))
            for field, part in schema.get("properties", {}).items()
        ]
        yield f'<h3 id="{escape(name)}">{escape(name)}</h3><p>{escape(str(schema.get("description", "")))}</p>'
        yield _table(("field", "type", "meaning"), rows) if rows else f"<p>{_html(_type(schema))}</p>"


class _Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def _type(schema: Document) -> _Html:
    if "$ref" in schema:
        name = escape(_last(schema))
        return _Html(f'<a href="#{name}">{name}</a>')
    for union in ("anyOf", "oneOf", "allOf"):
        if union in schema:
            return _Html(" or ".join(_type(part) for part in schema[union]))
    if schema.get("type") == "array":
        return _Html("list of " + _type(schema.get("items", {})))
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return _Html(" | ".join(f"<code>{escape(str(value))}</code>" for value in values))
    return _Html(escape(str(schema.get("type", "any"))))


def _table(head: tuple[str, ...], rows: Iterable[Iterable[object]]) -> str:
    titles = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{_html(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{titles}</tr>{body}</table>"


def _html(cell: object) -> str:
    return cell if isinstance(cell, _Html) else escape("" if cell is None else str(cell))


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _link(message: Document) -> _Html:
    payload = message.get("payload", {})
    name = escape(str(message.get("name", "")))
    return _Html(f'<a href="#{escape(_last(payload))}">{name}</a>') if "$ref" in payload else _Html(name)


def _last(reference: Document) -> str:
    return str(reference.get("$ref", "")).rsplit("/", 1)[-1]
