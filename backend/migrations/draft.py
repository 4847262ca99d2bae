"""Write the next migration from what the tables say and the newest schema does not.

    python -m backend.migrations.draft 0002 "Say what it adds" --database postgresql://…

The database must be empty or at the newest schema; read the file before you commit it.
"""

import argparse

from alembic import command
from sqlalchemy import create_engine

from backend.kit.migrations import configuration
from backend.tables import metadata


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revision", help="its number, e.g. 0002")
    parser.add_argument("message", help="what it does, in a few words")
    parser.add_argument("--database", required=True, help="a scratch database's address")
    arguments = parser.parse_args()
    with create_engine(arguments.database).begin() as connection:
        config = configuration(connection)
        config.attributes["metadata"] = metadata
        config.set_main_option("file_template", "v%%(rev)s_%%(slug)s")
        command.upgrade(config, "head")
        command.revision(config, arguments.message, autogenerate=True, rev_id=arguments.revision)


if __name__ == "__main__":
    main()
