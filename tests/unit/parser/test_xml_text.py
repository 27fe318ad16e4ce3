import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.parser.document import Section, Source
from services.parser.errors import ExtractionError
from services.parser.extraction import open_document
from services.parser.formats.xml_text import extract
from tests.unit.parser.bodies import bodies


def sections(markup: str) -> list[Section]:
    return list(bodies(extract(Source(markup.encode(), "application/xml")).blocks))


def outcome(markup: str) -> str:
    """Return the text or the code of the refusal."""
    try:
        return "\n".join(section.text for section in open_document(markup.encode()).sections)
    except ExtractionError as error:
        return error.code


def texts(markup: str) -> list[str]:
    return [section.text for section in sections(markup)]


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("<r><a>1</a><b u='kg'>2</b><c/><d k='v'/></r>", ["a: 1\nb (u=kg): 2\nd: k=v"]),
        ("<r><row><id>1</id><n>x</n></row><row><id>2</id><n>y</n></row></r>", ["row: id: 1, n: x\nrow: id: 2, n: y"]),
        ("<r>some <b>mixed</b> text</r>", ["some mixed text"]),
        ("<r><p>one <i>1</i></p><p>two</p></r>", ["one 1", "two"]),
        ("<x:r xmlns:x='urn:x'><x:a xmlns:y='urn:y' y:b='c'>1</x:a></x:r>", ["a: 1"]),
        ("<r><![CDATA[<p>one</p><p>two</p>]]></r>", ["one", "two"]),
        ("<r><programlisting>a\n  b</programlisting></r>", ["a\n  b"]),
        ("<?xml version='1.0' encoding='utf-16'?><r>Caf\u00e9&nbsp;&#233;&amp;&lt;</r>", ["Caf\u00e9 \u00e9&<"]),
        ("<r><!-- c --><?pi x?>a</r>", ["a"]),
    ],
)
def test_what_an_element_holds_decides_how_it_reads(markup: str, expected: list[str]) -> None:
    assert texts(markup) == expected


def test_titles_are_headings_of_what_they_stand_in() -> None:
    markup = """<book><info><title>Guide</title></info><chapter><title>One</title><para>a <em>b</em></para>
    <section><title>Two</title><para>c</para></section></chapter><chapter><title>Three</title><para>d</para></chapter></book>"""
    assert extract(Source(markup.encode(), "application/xml")).title == "Guide"
    assert [(section.heading_path[-2:], section.text) for section in sections(markup)] == [
        (("One",), "a b"),
        (("One", "Two"), "c"),
        (("Three",), "d"),
    ]


@pytest.mark.parametrize(
    "feed",
    [
        "<rss version='2.0'><channel><title>News</title><item><title>One</title><link>http://x</link>"
        "<description>&lt;p&gt;Hello &lt;b&gt;you&lt;/b&gt;&lt;/p&gt;</description></item></channel></rss>",
        "<rss><channel><title>News</title><item><title>One</title><link>http://x</link>"
        "<description><![CDATA[<p>Hello <b>you</b></p>]]></description></item></channel></rss>",
        "<feed xmlns='http://www.w3.org/2005/Atom'><title>News</title><entry><title>One</title><link>http://x</link>"
        "<content type='xhtml'><div xmlns='http://www.w3.org/1999/xhtml'><p>Hello <b>you</b></p></div></content>"
        "</entry></feed>",
    ],
)
def test_entries_of_feeds_stand_under_their_titles(feed: str) -> None:
    assert extract(Source(feed.encode(), "application/xml")).title == "News"
    assert [(section.heading_path, section.text) for section in sections(feed)] == [
        (("News", "One"), "link: http://x"),
        (("News", "One"), "Hello you"),
    ]


def test_a_record_keeps_what_stands_before_its_title() -> None:
    markup = f"<books>{''.join(f'<book><by>{n}</by><title>T{n}</title><d>{n * 400}</d></book>' for n in 'ab')}</books>"
    assert [(section.heading_path, section.text[:5]) for section in sections(markup)] == [
        (("Ta",), "by: a"),
        (("Tb",), "by: b"),
    ]


def test_plain_entities_are_text() -> None:
    declared = "<!DOCTYPE r [<!ENTITY co 'ACME &amp; Co'><!ENTITY le \"&#233;\">]>"
    assert texts(f"{declared}<r>&co; &le; &unknown;.</r>") == ["ACME & Co \u00e9 ."]


BOMB = (
    "<!DOCTYPE r [<!ENTITY a 'lololol'>"
    + "".join(f"<!ENTITY {name} '{f'&{inner};' * 10}'>" for inner, name in zip("abcdefghi", "bcdefghij", strict=True))
    + "]>"
)


@pytest.mark.parametrize(
    "markup",
    [
        BOMB + "<r>&j;</r>",
        BOMB + "<r>&b;</r>",
        f"<!DOCTYPE r [<!ENTITY a '{'x' * 5_000}'>]><r>{'&a;' * 5_000}</r>",
        "<!DOCTYPE r [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><r>&a;</r>",
        "<!DOCTYPE r [<!ENTITY % p SYSTEM 'file:///etc/passwd'> %p;]><r/>",
        "<!DOCTYPE r SYSTEM 'http://localhost/x.dtd'><r>&a;</r>",
        "<!DOCTYPE r [<!ENTITY b ']>'><!ENTITY a SYSTEM 'file:///etc/passwd'>]><!DOCTYPE r [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><r/>",
    ],
)
def test_entities_are_neither_expanded_nor_fetched(markup: str) -> None:
    found = outcome(f"<?xml version='1.0'?>{markup}")
    assert len(found) < 500
    assert "root:" not in found


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("<r><a>one</a><b>tw", "a: one\nb: tw"),
        ("<r><a>one & two</a></r>", "a: one two"),
        ("<r><a>one</b></r>", "a: one"),
        ("<r><a x=1>one</a></r>", "one"),
    ],
)
def test_damaged_xml_is_read_as_far_as_it_can_be_told(markup: str, expected: str) -> None:
    assert expected in "\n".join(texts(markup))


def test_endless_nesting_is_read() -> None:
    assert "deep" in "".join(texts("<a>" * 1_000 + "deep" + "</a>" * 1_000))


def test_a_database_is_read_in_parts() -> None:
    found = texts("<r>" + "<row><n>x</n></row>" * 1_000 + "</r>")
    assert len(found) == 5
    assert "\n".join(found) == "\n".join(["row: n: x"] * 1_000)


@given(st.text(st.sampled_from("<>/=\"'!?-[]& abrx1;\n"), max_size=120))
def test_no_markup_fails(markup: str) -> None:
    assert all(isinstance(text, str) for text in texts(markup))


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("<!DOC&zz;TYPE r [<!ENTITY a 'expanded'>]><r>&&zz;a;</r>", []),
        ("<r>&&zz;lt;x</r>", ["lt;x"]),
        (" " * 300_000 + "<r>text</r>", ["text"]),
    ],
    ids=["a declaration", "a reference", "a run of blanks"],
)
def test_what_an_unknown_reference_leaves_behind_makes_nothing_new(markup: str, expected: list[str]) -> None:
    assert texts(markup) == expected
