"""The database and its writer as the settings ask for, with what measures them."""

from services.persistence.database import Database, open_database
from services.persistence.metrics import StatementMetrics
from services.persistence.settings import PersistenceSettings
from services.persistence.statement_spans import trace_statements
from services.persistence.unit_of_work import GroupCommit
from shared.service import Service


def open_measured(service: Service, settings: PersistenceSettings) -> Database:
    """Return the engines of the database, whose statements are timed; nothing is connected yet."""
    database = open_database(settings)
    metrics = StatementMetrics(service.telemetry.meter)
    for engine in (database.writes, database.reads):
        metrics.watch(engine)
        trace_statements(engine, service.telemetry.tracer)
    return database


def open_writer(database: Database, service: Service, settings: PersistenceSettings) -> GroupCommit:
    """Return what writes to the database."""
    return GroupCommit(
        database.writes,
        threads=database.write_threads,
        max_batch=settings.persistence_max_batch,
        patience_seconds=settings.persistence_outage_patience_seconds,
        committed=service.metrics.batch("persistence"),
        tracer=service.telemetry.tracer,
    )
