import pytest

from services.parser.formats import xml
from services.parser.formats.equations import linear
from tests.unit.parser.office_files import xml_part


def r(text: str) -> str:
    return f"<m:r><m:rPr><m:sty m:val='p'/></m:rPr><m:t>{text}</m:t></m:r>"


def e(content: str, name: str = "e") -> str:
    return f"<m:{name}>{content}</m:{name}>"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (r("x") + r("=1"), "x=1"),
        (e(e(r("a+b"), "num") + e(r("2"), "den"), "f"), "(a+b)/2"),
        (e(e(r("x")) + e(r("2"), "sup"), "sSup"), "x^2"),
        (e(e(r("x")) + e(r("i"), "sub") + e(r("n+1"), "sup"), "sSubSup"), "x_i^(n+1)"),
        (e(e("", "deg") + e(r("x")), "rad"), "√(x)"),
        (e(e(r("a")) + e(r("b")), "d"), "(a|b)"),
        (e("<m:dPr><m:begChr m:val='['/><m:endChr m:val=']'/></m:dPr>" + e(r("a")), "d"), "[a]"),
        (
            e("<m:naryPr><m:chr m:val='∑'/></m:naryPr>" + e(r("i"), "sub") + e(r("n"), "sup") + e(r("i")), "nary"),
            "∑_i^n i",
        ),
        (e(e(r("sin"), "fName") + e(r("θ")), "func"), "sin θ"),
        (e(e(e(r("1")) + e(r("0")), "mr") + e(e(r("0")) + e(r("1")), "mr"), "m"), "1 0; 0 1"),
        (e(e(r("x")), "acc"), "x"),
    ],
)
def test_an_equation_stands_on_one_line(content: str, expected: str) -> None:
    assert linear(xml.parse(xml_part("m:oMath", content).encode())) == expected
