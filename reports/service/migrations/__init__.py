"""The database's versions, by alembic: one file a step in versions/."""
