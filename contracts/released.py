"""Whether messages of the last release are still read, and whether that release still reads ours.

Two releases run side by side while one takes the place of the other. `released.json` holds the schemas of the last
release; `python -m contracts.released` writes it anew, which is part of making a release and of nothing else.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from contracts.generate import PUBLISHED, REQUESTED, message_types

Schema = dict[str, Any]

BASELINE: Final = Path(__file__).resolve().parent / "released.json"
_FOR_PEOPLE: Final = ("title", "description", "examples", "default")
_UPPER: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_LOWER: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")


def present() -> Schema:
    """Return the subjects with the names of their messages, and the schemas by name."""
    spoken = {subject: [model.__name__] for subject, model in PUBLISHED.items()}
    spoken |= {subject: [request.__name__, reply.__name__] for subject, (request, reply) in REQUESTED.items()}
    models = {model.__name__: _bare(model.model_json_schema(mode="validation")) for model in message_types()}
    return {"subjects": spoken, "messages": models}


def incompatible(old: Schema, new: Schema) -> list[str]:
    """Return why the two can't run side by side, one line each; empty when they can."""
    found: list[str] = []
    for subject, names in old["subjects"].items():
        if subject not in new["subjects"]:
            found.append(f"{subject}: gone, and the last release still speaks there")
            continue
        for before, after in zip(names, new["subjects"][subject], strict=True):
            comparison = _Comparison(old["messages"][before], new["messages"][after])
            found += [f"{subject}: {line}" for line in comparison.run()]
    return sorted(set(found))


def main() -> int:
    """Keep the present schemas as those of the last release."""
    text = {kind: ",\n".join(_line(name, value) for name, value in part.items()) for kind, part in present().items()}
    parts = [f'"{kind}": {{\n{lines}\n}}' for kind, lines in text.items()]
    BASELINE.write_text("{" + ",\n".join(parts) + "}\n", encoding="utf-8")
    return 0


class _Comparison:
    """Walks two schemas of one message at the same time."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self._old, self._new = old, new
        self._seen: set[tuple[str, str]] = set()

    def run(self) -> Iterator[str]:
        """Yield what one of the two releases would refuse."""
        yield from self._compare(self._old, self._new, self._old.get("type", "message"))

    def _compare(self, old: Schema, new: Schema, where: str) -> Iterator[str]:
        step = (old.get("$ref", ""), new.get("$ref", ""))
        if all(step):
            if step in self._seen:
                return
            self._seen.add(step)
        old, new = _resolved(old, self._old), _resolved(new, self._new)
        if old.get("type") != new.get("type"):
            yield f"{where}: was {old.get('type')}, is {new.get('type')}"
            return
        yield from _narrower(old, new, where)
        yield from self._fields(old, new, where)
        yield from self._alternatives(old, new, where)
        for part in ("items", "additionalProperties"):
            if isinstance(old.get(part), dict) and isinstance(new.get(part), dict):
                yield from self._compare(old[part], new[part], f"{where}.{part}")

    def _fields(self, old: Schema, new: Schema, where: str) -> Iterator[str]:
        before, after = set(old.get("required", ())), set(new.get("required", ()))
        for name in sorted(after - before):
            yield f"{where}.{name}: required now, and the last release may leave it out"
        for name in sorted(before - after):
            yield f"{where}.{name}: may be left out now, and the last release requires it"
        for name, field in old.get("properties", {}).items():
            if name in new.get("properties", {}):
                yield from self._compare(field, new["properties"][name], f"{where}.{name}")

    def _alternatives(self, old: Schema, new: Schema, where: str) -> Iterator[str]:
        for kind in ("anyOf", "oneOf"):
            offered = {_name(one): one for one in new.get(kind, ())}
            for one in old.get(kind, ()):
                if _name(one) not in offered:
                    yield f"{where}: no longer {_name(one)}"
                else:
                    yield from self._compare(one, offered[_name(one)], where)


def _narrower(old: Schema, new: Schema, where: str) -> Iterator[str]:
    """Yield the values that were taken and are refused now."""
    before = [str(value) for value in old.get("enum", ())]
    after = [str(value) for value in new.get("enum", before)]
    if gone := set(before) - set(after):
        yield f"{where}: takes {', '.join(sorted(gone))} no longer"
    if "enum" in new and "enum" not in old:
        yield f"{where}: took any value, takes a few"
    for fixed in ("const", "pattern", "format"):
        if new.get(fixed) not in (None, old.get(fixed)):
            yield f"{where}: {fixed} was {old.get(fixed)}, is {new[fixed]}"
    for bound in _UPPER:
        if bound in new and new[bound] < old.get(bound, float("inf")):
            yield f"{where}: {bound} is {new[bound]}, below what was taken"
    for bound in _LOWER:
        if bound in new and new[bound] > old.get(bound, float("-inf")):
            yield f"{where}: {bound} is {new[bound]}, above what was taken"


def _resolved(schema: Schema, root: Schema) -> Schema:
    reference = schema.get("$ref")
    found: Schema = root["$defs"][reference.rpartition("/")[2]] if reference else schema
    return found


def _name(schema: Schema) -> str:
    return str(schema.get("$ref") or schema.get("const") or schema.get("type"))


def _bare(schema: Any) -> Any:
    """Leave out what is for people, but no field that happens to be called so."""
    if isinstance(schema, list):
        return [_bare(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _bare(one) for name, one in value.items()} if key in {"properties", "$defs"} else _bare(value)
        for key, value in schema.items()
        if key not in _FOR_PEOPLE
    }


def _line(name: str, value: Any) -> str:
    return f"{json.dumps(name)}: {json.dumps(value, sort_keys=True, ensure_ascii=False)}"


if __name__ == "__main__":
    sys.exit(main())
