"""The tables, the engine that reaches them, and the migrations that make them."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError

from .settings import Settings, SettingsError

MIGRATIONS = Path(__file__).parent / "migrations"
THREADS = 16  # of one worker: as many connections, and no more
metadata = sa.MetaData()

_Serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite counts up in INTEGER alone
_Digest = sa.String(64)

# Times are milliseconds since 1970 in UTC: the same number on either database. The order of arrival is `seq`,
# which a clock that is set back cannot change.
reports = sa.Table(
    "reports",
    metadata,
    sa.Column("seq", _Serial, primary_key=True, autoincrement=True),
    sa.Column("digest", _Digest, nullable=False, unique=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("received", sa.BigInteger, nullable=False),
    sa.Column("uploaded_by", sa.String(100), nullable=False),
    sa.Column("platform", sa.String(40), nullable=False),
    sa.Column("evidence", sa.String(40), nullable=False),
    sa.Column("profile", sa.String(40), nullable=False),
    sa.Column("device_name", sa.Text, nullable=False),
    sa.Column("device_arch", sa.Text, nullable=False),
    sa.Column("commit", sa.String(80), nullable=False),
    sa.Column("source_digest", _Digest, nullable=False),
    sa.Column("corpus_digest", _Digest, nullable=False),
    sa.Column("verdict", sa.String(20), nullable=False),
    sa.Column("headline", sa.Text, nullable=False),
    sa.Index("reports_by_sources", "platform", "source_digest", "corpus_digest", "profile", "seq"),
    sa.Index("reports_by_commit", "commit", "seq"),
    sqlite_autoincrement=True,
)
tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("scope", sa.String(10), nullable=False),
    sa.Column("secret_hash", _Digest, nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("expires", sa.BigInteger, nullable=False),
    sa.Column("revoked", sa.BigInteger),
)
parities = sa.Table(
    "parities",
    metadata,
    sa.Column("left", sa.ForeignKey("reports.digest", ondelete="CASCADE"), primary_key=True),
    sa.Column("right", sa.ForeignKey("reports.digest", ondelete="CASCADE"), primary_key=True),
    sa.Column("rules", sa.String(16), primary_key=True),
    sa.Column("verdict", sa.String(20), nullable=False),
    sa.Column("headline", sa.Text, nullable=False),
    sa.Column("computed", sa.BigInteger, nullable=False),
    sa.Column("badge", sa.LargeBinary, nullable=False),
    sa.Column("markdown", sa.LargeBinary, nullable=False),
    sa.Column("json", sa.LargeBinary, nullable=False),
    sa.Column("page", sa.LargeBinary, nullable=False),
    sa.Index("parities_by_right", "right"),
    sa.Index("parities_by_age", "computed"),
)
certificates = sa.Table(
    "certificates",
    metadata,
    sa.Column("seq", _Serial, primary_key=True, autoincrement=True),
    sa.Column("digest", _Digest, nullable=False, unique=True),
    sa.Column("left", sa.ForeignKey("reports.digest", ondelete="CASCADE"), nullable=False),
    sa.Column("right", sa.ForeignKey("reports.digest", ondelete="CASCADE"), nullable=False),
    sa.Column("received", sa.BigInteger, nullable=False),
    sa.Column("uploaded_by", sa.String(100), nullable=False),
    sa.Column("verified_by", sa.String(100)),
    sa.Column("envelope", sa.LargeBinary, nullable=False),
    sa.Index("certificates_by_pair", "left", "right", "seq"),
    sa.Index("certificates_by_right", "right"),
    sqlite_autoincrement=True,
)


def connect(settings: Settings) -> Engine:
    """The engine. Raises SettingsError for a URL of something else than SQLite and PostgreSQL."""
    try:
        url = make_url(settings.database_url)
    except ArgumentError:
        raise SettingsError("TRITONMOE_DATABASE is no URL; expected postgresql://user@host/name") from None
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        wait = int(settings.busy_seconds * 1000)
        options = f"-c lock_timeout={wait} -c statement_timeout={wait * 2}"
        arguments = {"connect_timeout": max(2, int(settings.busy_seconds)), "options": options}
        url = url.set(drivername="postgresql+psycopg")
    elif url.drivername == "sqlite":
        arguments = {"timeout": settings.busy_seconds, "check_same_thread": False, "isolation_level": None}
    else:
        raise SettingsError(f"TRITONMOE_DATABASE is of {url.drivername!r}; expected postgresql or sqlite")
    engine = sa.create_engine(
        url,
        poolclass=sa.QueuePool,
        pool_size=THREADS,
        max_overflow=0,
        pool_timeout=settings.busy_seconds,
        hide_parameters=True,  # a log of a failed statement must not hold a token's hash
        connect_args=arguments,
    )
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _durable)
        sa.event.listen(engine, "begin", _begin)
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection on which each statement stands alone."""
    with engine.connect() as connection:
        if (
            engine.dialect.name == "postgresql"
        ):  # saves it two messages; SQLite is asked for nothing by _begin
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        yield connection


@contextmanager
def writing(engine: Engine, *digests: str) -> Iterator[Connection]:
    """A transaction in which nobody else changes the reports with these digests.

    On SQLite nobody changes anything meanwhile: it waits for its turn at the start, as it could not later
    without a deadlock.
    """
    with engine.connect().execution_options(writing=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            # Always in one order: two that want both cannot block each other.
            for digest in sorted(set(digests)):
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(int(digest[:15], 16))))
        yield connection


def migrate(settings: Settings) -> None:
    """Makes the folder and brings the database to this version. Raises SettingsError if it is of a newer one.

    All of it happens or nothing. Two that start at once take turns by a lock on a file in the folder.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    engine = connect(settings)
    try:
        with (settings.data / "migrating.lock").open("a") as lock, engine.connect() as connection:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if engine.dialect.name == "sqlite":
                # A batch change drops the table that it changes: with it would go what refers to its rows.
                # Within the transaction this would do nothing.
                connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
                connection.commit()
            connection.execution_options(writing=True)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise SettingsError(
            f"the database cannot be brought to this version ({error}); is it newer?"
        ) from None
    finally:
        engine.dispose()


def insert_once(connection: Connection, table: sa.Table, row: dict[str, object]) -> bool:
    """Inserts the row unless its key is there already. Returns whether it did."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert
    statement = insert(table).values(row).on_conflict_do_nothing()
    return connection.execute(statement.returning(table.c[0])).first() is not None


def is_here(connection: Connection, digest: str) -> bool:
    """Whether the report has a row."""
    return connection.scalar(sa.select(reports.c.seq).where(reports.c.digest == digest)) is not None


def _durable(connection, _record) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # sqlite3 would begin on its own, and not before a SELECT: what reads first and writes later could fail.
    if connection.get_execution_options().get("writing"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
