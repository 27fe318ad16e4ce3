"""What the log says, and what it never says."""

import asyncio
import io
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from contracts.documents import IngestMessage
from shared.errors import Rejected
from shared.logs import bind_document, configure_logging, get_logger, log_scope
from shared.settings import PlatformSettings
from shared.telemetry import bind_tenant, span
from tests.captured_logs import lines_of, logging_as_before

SECRET = "the-words-of-somebody"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    with logging_as_before():
        yield


def configured(**settings: Any) -> io.StringIO:
    stream: io.StringIO = settings.pop("stream", io.StringIO())
    configure_logging(PlatformSettings(instance="one", **settings), "agent", stream)
    return stream


def fail_with(text: str) -> None:
    question = f"asked: {text}"
    raise KeyError(question)


def failure(text: str = SECRET) -> Exception:
    """Return an error whose words, and the local variables of whose frames, hold a text."""
    try:
        fail_with(text)
    except KeyError as cause:
        try:
            raise ValueError(f"cannot use {text}") from cause
        except ValueError as error:
            return error
    raise AssertionError


def test_a_line_is_an_event_with_its_fields_and_the_process() -> None:
    stream = configured()
    get_logger("services.agent.x").warning("thing_happened", count=3)
    [line] = lines_of(stream)
    assert (line["event"], line["count"], line["level"]) == ("thing_happened", 3, "warning")
    assert (line["service"], line["instance"]) == ("agent", "one")
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize(
    ("log_format", "stream", "is_json"),
    [("auto", io.StringIO(), True), ("auto", Terminal(), False), ("json", Terminal(), True)],
    ids=["program", "terminal", "asked for"],
)
def test_lines_are_for_people_on_a_terminal(log_format: str, stream: io.StringIO, is_json: bool) -> None:
    configured(log_format=log_format, stream=stream)
    get_logger("shared.x").info("thing_happened", count=3)
    assert stream.getvalue().startswith("{") == is_json
    assert "thing_happened" in stream.getvalue()


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_a_traceback_names_frames_and_classes_and_no_words_and_no_local_variable(log_format: str) -> None:
    """INVARIANT: no text of anybody is in a log. Words of unexpected errors, or local variables, would break it."""
    stream = configured(log_format=log_format, log_level="debug")
    get_logger("shared.x").error("request_fault", exc_info=failure())
    text = stream.getvalue()
    assert SECRET not in text
    for part in ("fail_with", "KeyError", "ValueError", "This led to", "test_logs.py"):
        assert part in text


def test_words_are_shown_when_they_are_asked_for() -> None:
    stream = configured(log_content=True)
    get_logger("shared.x").error("request_fault", exc_info=failure(), question=SECRET)
    [line] = lines_of(stream)
    assert line["question"] == SECRET
    assert f"ValueError: cannot use {SECRET}" in line["exception"]
    assert "question = " not in line["exception"].replace("question = f", "")


def test_our_own_words_are_told_and_quoted_ones_are_not() -> None:
    stream = configured()
    log = get_logger("shared.x")
    log.warning("refused", reason=Rejected("title is too long", code="too_long"))
    log.warning("refused", reason=Rejected(f"the endpoint says: {SECRET}", code="llm_refused").quoting())
    log.warning("refused", reason=failure())
    own, quoted, other = (line["reason"] for line in lines_of(stream))
    assert (own, quoted, other) == ("title is too long", "llm_refused", "ValueError")


def test_a_field_that_holds_content_is_left_out() -> None:
    stream = configured()
    get_logger("shared.x").info("asked", question=SECRET, child_stderr=SECRET)
    assert SECRET not in stream.getvalue()


def test_secrets_are_replaced_whatever_is_switched_on() -> None:
    stream = configured(
        log_content=True,
        nats_password='broker"pass',
        nats_url="nats://me:url-pass@a:1,nats://b:2",
        sentry_dsn="http://k:dsn@h/1",
    )
    log = get_logger("shared.x")
    log.error(
        "failed", at="nats://me:url-pass@a:1", text='has broker"pass in it', exc_info=ValueError("http://k:dsn@h/1")
    )
    text = stream.getvalue()
    assert "url-pass" not in text
    assert "broker" not in text
    assert "dsn@h" not in text
    assert "nats://me:***@a:1" in text


def test_levels_are_set_for_all_and_for_single_loggers() -> None:
    stream = configured(log_level="error", log_levels="services.agent=debug")
    get_logger("services.agent.x").debug("heard")
    get_logger("services.parser.x").warning("not_heard")
    get_logger("shared.x").error("heard")
    assert [line["event"] for line in lines_of(stream)] == ["heard", "heard"]


def test_libraries_are_heard_from_warning_on_and_of_their_text_only_what_is_constant() -> None:
    """INVARIANT: a library's free text is not in a log; httpx writes addresses, openai whole requests."""
    logging.getLogger("httpx").setLevel(logging.DEBUG)
    stream = configured(log_level="debug")
    for name in ("httpx", "openai._base_client", "sqlalchemy.engine", "nats", "faststream"):
        logging.getLogger(name).debug("request %s", SECRET)
        logging.getLogger(name).info(f"row {SECRET}")
        logging.getLogger(name).warning("retry of %s", SECRET)
        logging.getLogger(name).error(f"gave up {SECRET}", exc_info=failure())
    text = stream.getvalue()
    assert SECRET not in text
    lines = lines_of(stream)
    assert len(lines) == 10
    assert {line["event"] for line in lines} == {"library_message"}
    assert (lines[0]["library"], lines[0]["message"], lines[0]["at"][:9]) == ("httpx", "retry of %s", "test_logs")
    assert "fail_with" in lines[1]["exception"]


def test_a_library_says_more_when_it_is_named_and_its_text_when_content_is_on() -> None:
    stream = configured(log_levels="httpx=debug", log_content=True)
    logging.getLogger("httpx").debug("request %s", "GET /")
    assert lines_of(stream)[0]["message"] == "request GET /"


async def test_a_task_nobody_waited_for_is_logged_without_its_words() -> None:
    stream = configured()

    async def broken() -> None:
        fail_with(SECRET)

    task = asyncio.create_task(broken())
    await asyncio.wait([task])
    del task
    await asyncio.sleep(0)
    text = stream.getvalue()
    assert "Task exception was never retrieved" in text
    assert "fail_with" in text
    assert SECRET not in text


def test_uncaught_errors_and_warnings_go_the_same_way() -> None:
    stream = configured()
    error = failure()
    sys.excepthook(type(error), error, error.__traceback__)
    thread = threading.Thread(target=fail_with, args=(SECRET,), name="worker")
    thread.start()
    thread.join()
    warnings.showwarning(UserWarning(SECRET), UserWarning, "some.py", 7)
    assert SECRET not in stream.getvalue()
    assert [line["event"] for line in lines_of(stream)] == ["process_fault", "thread_fault", "python_warning"]


def test_a_line_names_trace_tenant_request_and_document_and_the_next_one_names_nothing() -> None:
    """INVARIANT: what is bound for one message never stands on a line of the next one."""
    stream = configured()
    log = get_logger("shared.x")
    # Tests share one context: what another one has bound to it does not show in here.
    with log_scope():
        with span(TracerProvider().get_tracer("test"), "process", tenant="acme"), log_scope(correlation_id="c-1"):
            bind_document(IngestMessage(id="handbook", text="x"))
            log.info("inside")
        log.info("outside")
    inside, outside = lines_of(stream)
    assert (inside["tenant"], inside["correlation_id"], inside["document_id"]) == ("acme", "c-1", "handbook")
    assert len(inside["trace_id"]) == 32
    assert not {"tenant", "correlation_id", "document_id", "trace_id"} & outside.keys()


async def test_the_tenant_of_a_request_is_named_as_soon_as_it_is_known() -> None:
    stream = configured()

    async def request() -> None:
        bind_tenant("acme")
        get_logger("shared.x").info("inside")

    await asyncio.create_task(request())
    assert lines_of(stream)[0]["tenant"] == "acme"
