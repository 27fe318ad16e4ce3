"""Every row of the page of limits is backed by a test that exists."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from tests.architecture.test_rules import PROJECT

PAGE: Final = PROJECT / "docs" / "limits.md"
UNIT, WHOLE = "tests/unit", "tests/integration"
COUNTS: Final = f"{WHOLE}/test_persistence_usage.py::test_a_document_counts_while_it_is_under_way_or_shown"
# Beside each row, by its first cell, what shows it; a new row fails here until it has its tests.
SHOWN_BY: Final[Mapping[str, Sequence[str]]] = {
    "requests of a key": (
        f"{UNIT}/gateway/test_rate_limiting.py::test_who_calls_too_often_is_told_when_to_come_back_and_nobody_else_is_held_up",
    ),
    "requests of a tenant": (
        f"{UNIT}/gateway/test_rate_limiting.py::test_the_keys_of_a_tenant_share_its_limit_and_another_tenant_has_its_own",
    ),
    "wrong keys and tokens of an address (an IPv6 /64)": (
        f"{UNIT}/gateway/test_failed_attempts.py::test_who_guesses_is_not_listened_to_after_some_guesses",
        f"{UNIT}/gateway/test_failed_attempts.py::test_an_address_is_what_one_caller_has_for_itself",
    ),
    "streams, waits and questions of a key": (
        f"{UNIT}/gateway/test_rate_limiting.py::test_one_key_does_not_take_all_seats",
    ),
    "the same of all": (
        f"{UNIT}/gateway/test_rate_limiting.py::test_seats_stay_bounded_for_all_keys_together",
        f"{WHOLE}/test_gateway_questions.py::test_more_callers_than_may_wait_are_turned_away",
        f"{WHOLE}/test_answer_streams.py::test_open_streams_are_bounded_and_a_closed_one_makes_room",
    ),
    "requests in work": (
        f"{UNIT}/gateway/test_admission.py::test_the_request_beyond_the_bound_is_refused_at_once_and_told_when_to_come_back",
    ),
    "bytes of bodies in work": (
        f"{UNIT}/gateway/test_body_limit.py::test_bodies_in_work_are_bounded_together_and_given_free_afterwards",
    ),
    "head of a request, address included": (
        f"{UNIT}/shared/test_http_protocol.py::test_a_head_over_the_limit_is_refused_and_the_server_goes_on",
    ),
    "time for a head": (f"{UNIT}/shared/test_http_protocol.py::test_a_connection_that_says_nothing_is_closed",),
    "pause within a body": (
        f"{UNIT}/gateway/test_body_limit.py::test_a_body_that_stops_half_way_does_not_hold_the_request_for_ever",
    ),
    "a caller takes nothing of its answer": (
        f"{UNIT}/gateway/test_admission.py::test_a_caller_that_takes_nothing_of_its_answer_is_let_go",
    ),
    "body that brings documents": (
        f"{WHOLE}/test_gateway_process.py::test_a_200_mb_upload_is_refused_politely_and_without_holding_it",
        f"{WHOLE}/test_gateway_process.py::test_an_upload_of_unknown_length_is_refused_at_the_limit_and_was_never_held",
    ),
    "body of `/mcp`": (
        f"{WHOLE}/test_mcp_http.py::test_a_message_may_be_larger_than_other_requests_but_not_without_bound",
    ),
    "any other body": (f"{UNIT}/gateway/test_body_limit.py::test_only_documents_may_be_large",),
    "one document, one uploaded file": (
        f"{UNIT}/gateway/test_submissions.py::test_a_document_over_the_bound_is_refused_by_its_place",
        f"{WHOLE}/test_gateway_uploads.py::test_a_wrong_upload_is_refused_by_its_field",
    ),
    "documents or files in a request": (
        f"{UNIT}/gateway/test_submissions.py::test_a_request_brings_a_hundred_documents_and_no_more",
        f"{WHOLE}/test_gateway_uploads.py::test_more_than_a_hundred_files_are_refused",
    ),
    "question, query": (
        f"{WHOLE}/test_gateway_questions.py::test_a_wrong_question_is_refused_by_its_field",
        f"{WHOLE}/test_gateway_questions.py::test_a_query_of_8000_characters_is_allowed",
    ),
    "`wait_s`": (f"{WHOLE}/test_gateway_documents.py::test_a_wait_out_of_bounds_is_refused",),
    "time for an answer": (
        f"{WHOLE}/test_gateway_questions.py::test_an_answer_that_does_not_come_in_time_is_a_timeout",
    ),
    "life of a stream": (
        f"{WHOLE}/test_gateway_documents.py::test_an_event_stream_stays_open_with_heartbeats_and_ends_in_time",
    ),
    "`fetch_off`": (
        f"{WHOLE}/test_fetched_documents.py::test_while_nothing_is_fetched_such_a_document_is_invalid",
        f"{WHOLE}/test_fetched_documents.py::test_the_gateway_takes_an_address_for_a_document_only_where_that_is_on",
        "tests/e2e/test_documents_to_answers.py::test_what_breaks_the_schema_on_the_subject_is_visible_and_blocks_nothing",
    ),
    "`url_not_allowed`": (
        f"{UNIT}/parser/test_fetching.py::test_what_is_not_to_be_fetched_is_refused_before_anything_is_looked_up",
        f"{UNIT}/parser/test_fetching.py::test_a_name_that_is_rebound_between_two_hops_is_refused",
    ),
    "`fetch_unresolvable`": (f"{UNIT}/parser/test_fetching.py::test_a_name_that_is_none_is_refused",),
    "`fetch_untrusted`": (
        f"{UNIT}/parser/test_fetching.py::test_a_certificate_must_be_that_of_the_name_and_of_a_known_authority",
    ),
    "`fetch_refused`": (
        f"{UNIT}/parser/test_fetching.py::test_what_is_compressed_unasked_is_not_unpacked",
        f"{UNIT}/parser/test_fetching.py::test_what_the_server_refuses_is_not_tried_again",
    ),
    "`too_large`": (f"{UNIT}/parser/test_fetching.py::test_too_much_is_refused",),
    "`fetch_failed`": (
        f"{UNIT}/parser/test_fetching.py::test_what_may_go_away_is_tried_again_when_the_server_says",
        f"{UNIT}/parser/test_fetching.py::test_a_server_that_does_not_finish_in_time_is_tried_again",
    ),
    "ids in one list of documents": (
        f"{WHOLE}/test_gateway_document_lists.py::test_a_wrong_list_is_refused_by_its_parameter",
    ),
    "part of a title that is searched for": (
        f"{WHOLE}/test_gateway_document_lists.py::test_a_wrong_list_is_refused_by_its_parameter",
    ),
    "bytes": (f"{WHOLE}/test_quotas.py::test_a_large_upload_counts_before_it_is_parsed",),
    "a document that is accepted, processing or indexed": (COUNTS,),
    "an update": (COUNTS, f"{UNIT}/shared/test_quotas.py::test_an_update_counts_what_it_adds"),
    "a document that failed": (COUNTS,),
    "a deleted one": (
        f"{WHOLE}/test_quotas.py::test_the_gateway_takes_documents_up_to_the_quota_and_a_delete_makes_room_at_once",
    ),
    "those of a deleted collection": (
        COUNTS,
        f"{WHOLE}/test_collection_deletes.py::test_every_document_of_the_collection_goes_and_what_comes_later_stays",
    ),
    "documents from before there were quotas": (
        f"{WHOLE}/test_persistence_usage.py::test_a_replica_of_an_older_release_goes_on_beside_a_newer_one",
    ),
    "gateway, also `/mcp`": (
        f"{WHOLE}/test_quotas.py::test_the_gateway_takes_documents_up_to_the_quota_and_a_delete_makes_room_at_once",
    ),
    "parser, for what comes straight from the broker": (
        f"{WHOLE}/test_quotas.py::test_what_passes_the_gateway_by_ends_as_failed_where_there_is_no_room",
    ),
}


def rows() -> list[str]:
    """Return the first cell of every row of every table, without the tables' heads."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    heads = {index - 1 for index, line in enumerate(lines) if line.startswith("|---")}
    return [
        line.split("|")[1].strip()
        for index, line in enumerate(lines)
        if index not in heads and not line.startswith("|---")
    ]


def test_every_limit_has_its_tests() -> None:
    found = rows()
    assert len(found) > 20
    assert sorted(found) == sorted(SHOWN_BY), "give a new row its tests in SHOWN_BY"
    assert all(SHOWN_BY.values())


def test_what_shows_a_limit_exists() -> None:
    for row, tests in SHOWN_BY.items():
        for test in tests:
            path, _, name = test.partition("::")
            source = (PROJECT / path).read_text(encoding="utf-8")
            assert re.search(rf"^(async )?def {name}\(", source, re.MULTILINE), f"{row}: there is no {test}"
