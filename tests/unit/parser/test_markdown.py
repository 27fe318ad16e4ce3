import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from services.parser.document import Heading, Section, Source
from services.parser.formats.markdown import extract
from tests.unit.parser.bodies import bodies

# Every construct in which a line that looks like a heading or a rule is something else.
TRICKY = """---
title: "The front page"
tags: [a, b]
---
# One #

Text under one
# Two##

Setext of
two lines
=========

Another
---

- item
---
* * *

```python
# a comment, no heading
---
```

~~~~
```
# still code
~~~
~~~~

    # indented code

1. first

   # heading in an item

   ```
   # code in an item
   ```
2. second

> # quoted heading
> text

| a | b |
|---|---|
| 1 | 2 |

#no heading
####### seven
### 
## Last
`````
# never closed
"""


def blocks(text: str) -> list[Heading | Section]:
    return list(extract(Source(text.encode(), "text/markdown")).blocks)


def sections(text: str) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.kind, one.text, one.heading_path) for one in bodies(blocks(text))]


def headings(text: str) -> list[tuple[int, str]]:
    return [(block.level, " ".join(block.text.split())) for block in blocks(text) if isinstance(block, Heading)]


def headings_by_the_book(text: str) -> list[tuple[int, str]]:
    tokens = MarkdownIt("commonmark").parse(text)
    return [
        (int(token.tag[1]), " ".join(tokens[number + 1].content.split()))
        for number, token in enumerate(tokens)
        if token.type == "heading_open" and token.level == 0
    ]


def test_headings_are_those_of_commonmark() -> None:
    body = TRICKY.partition("]\n---\n")[2]
    assert headings(TRICKY) == headings_by_the_book(body)


LINES = st.sampled_from(
    ["# A", "## B ##", "text", "", "===", "---", "- item", "```", "  more", "1. one", "> quote", "***"]
)


@given(lines=st.lists(LINES, max_size=12))
def test_every_line_of_text_is_kept(lines: list[str]) -> None:
    kept = "\n".join(block.text for block in blocks("\n".join(["text", "", *lines])))
    for word in ("text", "item", "more", "one", "quote"):
        assert kept.count(word) == "\n".join(["text", "", *lines]).count(word)


def test_blocks_have_their_kind_and_headings() -> None:
    text = "# A\n\nPara\nline\n\n## B\n\n- one\n- two\n\n  still two\n\n```sh\nls\n\npwd\n```\n"
    text += "\na | b\n--|--\n1 | 2\n\n    code\n"
    assert sections(text) == [
        ("text", "Para\nline", ("A",)),
        ("list", "- one\n- two\n\n  still two", ("A", "B")),
        ("code", "```sh\nls\n\npwd\n```", ("A", "B")),
        ("table", "a | b\n--|--\n1 | 2", ("A", "B")),
        ("code", "    code", ("A", "B")),
    ]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("---\ntitle: 'Quoted: title'\n---\n# Other", "Quoted: title"),
        ('+++\ntitle = "TOML"\n+++\ntext', "TOML"),
        ("---\nauthor: me\n---\n# First", "First"),
        ("<p align=center><img src=logo.png></p>\n\n# After a badge", "After a badge"),
        ("Setext\n===\ntext", "Setext"),
        ("## Second level\n\n# First level", None),
        ("---\nno front matter\n---\ntext", None),
        ("---\ntitle: never closed", None),
        ("text", None),
        ("", None),
    ],
)
def test_the_title_is_the_front_matters_or_the_first_heading(text: str, title: str | None) -> None:
    assert extract(Source(text.encode(), "text/markdown")).title == title


def test_front_matter_is_no_text() -> None:
    assert sections("---\ntitle: T\nsecret: x\n---\nBody") == [("text", "Body", ())]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('<h2 align="center">Name</h2>\n<p>About <b>it</b></p>', [("text", "About it", ("Name",))]),
        ("<!-- a\n\n# hidden\n\n-->\nshown", [("text", "shown", ())]),
        ("<script>\n\n# code\n</script>\n\nshown", [("text", "shown", ())]),
        ("<details>\n<summary>More</summary>\n\n- item\n\n</details>", [("text", "More", ()), ("list", "- item", ())]),
        ("Use `List<T>` or <https://example.org>", [("text", "Use `List<T>` or <https://example.org>", ())]),
        ("![logo](data:image/png;base64,iVBORw0KGgo=) after", [("text", "![logo]() after", ())]),
    ],
)
def test_embedded_html_becomes_text(text: str, kept: list[tuple[str, str, tuple[str, ...]]]) -> None:
    assert sections(text) == kept


@pytest.mark.parametrize(
    "line",
    [
        "#" + " " * 200_000 + "x",
        "- " * 100_000,
        "|" + "-" * 200_000 + "x",
        "`" * 200_000,
        "<" * 200_000,
        "    " * 50_000,
    ],
    ids=["heading", "list", "table", "fence", "html", "indent"],
)
def test_no_line_takes_more_than_linear_time(line: str) -> None:
    started = time.process_time()
    blocks(f"a | b\n{line}\n{line}\n")
    assert time.process_time() - started < 1.0
