"""Equations of Office Open XML (OMML) on one line, as one would type them: `(a+b)/2`, `x^2`, `√(x)`."""

from typing import Final

from services.parser.formats import xml
from services.parser.formats.xml import Element

_USUAL_OPERATOR: Final = "∫"
# Function application, invisible times and their like.
_INVISIBLE: Final = dict.fromkeys(range(0x2061, 0x2065))


def linear(node: Element | None) -> str:
    """Return an equation, or a part of it, as text."""
    if node is None or xml.name(node).endswith("Pr"):
        return ""
    match xml.name(node):
        case "t":
            return (node.text or "").translate(_INVISIBLE)
        case "f":
            return f"{_grouped(node, 'num')}/{_grouped(node, 'den')}"
        case "sSub" | "sSup" | "sSubSup" | "sPre":
            return _part(node, "e") + _scripts(node)
        case "rad":
            return f"{_part(node, 'deg')}√({_part(node, 'e')})"
        case "d":
            return _delimited(node)
        case "nary":
            sign = xml.attribute(xml.find(node, "naryPr", "chr"), "val")
            return f"{sign or _USUAL_OPERATOR}{_scripts(node)} {_part(node, 'e')}"
        case "func":
            return f"{_part(node, 'fName')} {_part(node, 'e')}"
        case "mr" | "m" | "eqArr":
            return ("; " if xml.name(node) != "mr" else " ").join(filter(None, map(linear, node)))
    return "".join(map(linear, node))


def _part(node: Element, name: str) -> str:
    return linear(xml.find(node, name))


def _grouped(node: Element, name: str) -> str:
    text = _part(node, name)
    return text if text.isalnum() else f"({text})"


def _scripts(node: Element) -> str:
    marks = (("_", "sub"), ("^", "sup"))
    return "".join(mark + _grouped(node, name) for mark, name in marks if _part(node, name))


def _delimited(node: Element) -> str:
    signs = {name: xml.attribute(xml.find(node, "dPr", name), "val") for name in ("begChr", "sepChr", "endChr")}
    begin, separator, end = (usual if sign is None else sign for sign, usual in zip(signs.values(), "(|)", strict=True))
    return begin + separator.join(linear(child) for child in node if xml.name(child) == "e") + end
