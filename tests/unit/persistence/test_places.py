"""The cursor of a comparison."""

import pytest

from services.persistence.places import Place, Stage, read_place
from shared.errors import Rejected


@pytest.mark.parametrize(
    "place",
    [
        Place(),
        Place(revision=10**18 - 1),
        Place(Stage.DELETES),
        Place(Stage.DELETES, key=("acme", "a:b/c ü:")),
        Place(Stage.COLLECTIONS, key=("acme", "manuals")),
    ],
)
def test_a_cursor_leads_back_to_its_place(place: Place) -> None:
    assert read_place(place.cursor) == place
    assert read_place(None) == Place()


@pytest.mark.parametrize(
    "cursor", ["", "revisions:", "revisions:-1", "revisions:²", "deletes:a", "else:1", "deletes:a:\0"]
)
def test_a_cursor_that_nobody_wrote_is_refused(cursor: str) -> None:
    with pytest.raises(Rejected, match="none that a step has answered"):
        read_place(cursor)
