"""What alembic runs: on the connection that `database.migrate` opened, all steps in one transaction."""

from alembic import context

from reports.service.database import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=False,
    transactional_ddl=True,  # of SQLite as well, which alembic would not trust with it
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
context.config.attributes["connection"].commit()
