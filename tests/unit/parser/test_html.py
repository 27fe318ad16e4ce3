import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.parser.document import Source
from services.parser.formats.html import extract
from tests.unit.parser.bodies import bodies


def sections(markup: str) -> list[tuple[str, str]]:
    return [(one.kind, one.text) for one in bodies(extract(Source(markup.encode(), "text/html")).blocks)]


def texts(markup: str) -> list[str]:
    return [text for _, text in sections(markup)]


def test_sections_carry_their_headings() -> None:
    page = "<h1>A</h1><p>a</p><h2>B <i>b</i></h2><div>b</div><h3>C</h3><p>c<h2>D</h2>d"
    found = bodies(extract(Source(page.encode(), "text/html")).blocks)
    assert [(one.text, one.heading_path) for one in found] == [
        ("a", ("A",)),
        ("b", ("A", "B b")),
        ("c", ("A", "B b", "C")),
        ("d", ("A", "D")),
    ]


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("<p>a <b>b</b>c</p>d", [("text", "a bc"), ("text", "d")]),
        ("<p>one<br>two  \n three</p>", [("text", "one\ntwo three")]),
        ("<p>Fish &amp; chips &lt;3&nbsp;&euro;&#8212;</p>", [("text", "Fish & chips <3 €—")]),
        ("<ul><li>a<li>b<ul><li>c</ul><li>d</ul>", [("list", "- a\n- b\n  - c\n- d")]),
        ("<ol><li>a<p>more</p><li>b</ol>", [("list", "1. a\n   more\n2. b")]),
        ("<dl><dt>term<dd>meaning</dl>", [("list", "term\n  meaning")]),
        ("<pre>a\n  <b>b</b>\n\nc</pre>", [("code", "a\n  b\n\nc")]),
        ("<pre><div>a</div><div> b</div></pre>", [("code", "\na\n\n b\n")]),
        ("<table><tr><th>A<th>B<tr><td>1<td>2</table>", [("table", "A | B\n1 | 2")]),
        ("<table><tr><td>1<td><p>x</p><p>y</p><td></table>", [("table", "1 | x y | ")]),
        ("<table><tr><td>1<td><ul><li>x<li>y</ul></table>", [("table", "1 | x y")]),
        ("<table><tr><td><p>one</p><p>two</p></table>", [("text", "one"), ("text", "two")]),
        (
            "<table><tr><td>before<table><tr><td>1<td>2</table>after</table>",
            [("text", "before"), ("table", "1 | 2"), ("text", "after")],
        ),
        ("<ul><li>a<pre>x</pre>b</ul>", [("list", "- a"), ("code", "x"), ("list", "  b")]),
        ("<table><caption>C</caption><tr><td>1<td>2</table>", [("text", "C"), ("table", "1 | 2")]),
        ("<blockquote>q</blockquote><hr>e", [("text", "q"), ("text", "e")]),
    ],
)
def test_blocks_keep_their_shape(markup: str, expected: list[tuple[str, str]]) -> None:
    assert [(kind, text.strip("\n")) for kind, text in sections(markup)] == [
        (kind, text.strip("\n")) for kind, text in expected
    ]


@pytest.mark.parametrize(
    "markup",
    [
        "<script>x</script>",
        "<style>x</style>",
        "<nav><p>x</p></nav>",
        "<div role=navigation>x</div>",
        "<template>x</template>",
        "<noscript>x</noscript>",
        "<svg><title>x</title><text>x</text></svg>",
        "<p hidden>x</p>",
        "<p aria-hidden=true>x</p>",
        "<p style='color:red; DISPLAY : none'>x</p>",
        "<div style='visibility:hidden'><p>x</p></div>",
        "<!-- x -->",
        "<?xml:namespace prefix = x />",
        "<?php x ?>",
        "<select><option>x</select>",
        "<iframe>x</iframe>",
    ],
)
def test_what_no_reader_sees_is_dropped(markup: str) -> None:
    assert texts(f"<p>before</p>{markup}<p>after</p>") == ["before", "after"]


@pytest.mark.parametrize(
    ("markup", "title"),
    [
        ("<title> The &amp; title </title><h1>H</h1>", "The & title"),
        ("<h1>The <b>heading</b></h1>", "The heading"),
        ("<svg><title>drawing</title></svg><p>x", None),
        ("<p>x", None),
    ],
)
def test_the_title_is_the_pages_or_the_first_headings(markup: str, title: str | None) -> None:
    found = extract(Source(markup.encode(), "text/html")).title
    assert (found and found.strip()) == title


def test_xhtml_may_close_its_tags_at_once() -> None:
    page = "<?xml version='1.0'?><html><head><title/><script src='x'/></head><body><a id='1'/>a<br/>b</body></html>"
    assert texts(page) == ["a\nb"]


@given(st.text(st.sampled_from("<>/=\"' apdivtablerhu1!-&;\n"), max_size=120))
def test_broken_markup_never_fails(markup: str) -> None:
    assert all(isinstance(text, str) for text in texts(markup))


@pytest.mark.parametrize("tag", ["div", "b", "ul><li", "table><tr><td", "pre", "h1", "blockquote"])
def test_endless_nesting_is_read(tag: str) -> None:
    assert "deep" in "".join(texts(f"<{tag}>" * 3_000 + "deep"))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("tag", ["div", "ul><li", "dl><dt", "blockquote", "section", "listing", "span", "div x"])
def test_deep_nesting_takes_no_longer_than_its_length(tag: str) -> None:
    """INVARIANT: 50,000 levels are read within the time limit of the test, where the standard alone takes a minute."""
    assert "deep" in "".join(texts(f"<{tag}>" * 50_000 + "deep"))


def test_blocks_below_the_deepest_level_stay_apart() -> None:
    deep = "<div>" * 600 + "<div>one</div><div>two</div>" + "</div>" * 600 + "<div>three</div>"
    assert texts(deep) == ["one", "two", "three"]
