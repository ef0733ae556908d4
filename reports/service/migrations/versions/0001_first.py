"""Reports, tokens, parities, certificates."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_DIGEST = sa.String(64)


def _report(name: str, **options) -> sa.Column:
    return sa.Column(name, _DIGEST, sa.ForeignKey("reports.digest", ondelete="CASCADE"), **options)


def upgrade() -> None:
    op.create_table(
        "reports",
        sa.Column("seq", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("digest", _DIGEST, nullable=False, unique=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("uploaded_by", sa.String(100), nullable=False),
        sa.Column("platform", sa.String(40), nullable=False),
        sa.Column("evidence", sa.String(40), nullable=False),
        sa.Column("profile", sa.String(40), nullable=False),
        sa.Column("device_name", sa.Text, nullable=False),
        sa.Column("device_arch", sa.Text, nullable=False),
        sa.Column("commit", sa.String(80), nullable=False),
        sa.Column("source_digest", _DIGEST, nullable=False),
        sa.Column("corpus_digest", _DIGEST, nullable=False),
        sa.Column("verdict", sa.String(20), nullable=False),
        sa.Column("headline", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "reports_by_sources", "reports", ["platform", "source_digest", "corpus_digest", "profile", "seq"]
    )
    op.create_index("reports_by_commit", "reports", ["commit", "seq"])
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("scope", sa.String(10), nullable=False),
        sa.Column("secret_hash", _DIGEST, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("revoked", sa.BigInteger),
    )
    op.create_table(
        "parities",
        _report("left", primary_key=True),
        _report("right", primary_key=True),
        sa.Column("rules", sa.String(16), primary_key=True),
        sa.Column("verdict", sa.String(20), nullable=False),
        sa.Column("headline", sa.Text, nullable=False),
        sa.Column("computed", sa.BigInteger, nullable=False),
        sa.Column("badge", sa.LargeBinary, nullable=False),
        sa.Column("markdown", sa.LargeBinary, nullable=False),
        sa.Column("json", sa.LargeBinary, nullable=False),
        sa.Column("page", sa.LargeBinary, nullable=False),
    )
    op.create_index("parities_by_right", "parities", ["right"])
    op.create_index("parities_by_age", "parities", ["computed"])
    op.create_table(
        "certificates",
        sa.Column("seq", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("digest", _DIGEST, nullable=False, unique=True),
        _report("left", nullable=False),
        _report("right", nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("uploaded_by", sa.String(100), nullable=False),
        sa.Column("verified_by", sa.String(100)),
        sa.Column("envelope", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("certificates_by_pair", "certificates", ["left", "right", "seq"])
    op.create_index("certificates_by_right", "certificates", ["right"])


def downgrade() -> None:
    for table in ("certificates", "parities", "tokens", "reports"):
        op.drop_table(table)
