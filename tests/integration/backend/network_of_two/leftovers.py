"""What a refused upload must not leave: files and rows."""

from sqlalchemy import text

from tests.integration.backend.network_of_two.conftest import Organization

TABLES = (
    *("function_file", "data_manager_file", "data_sample_file"),
    *("function", "data_manager", "data_sample"),
)


def held(organization: Organization) -> tuple[set[str], dict[str, int]]:
    """Every file in the storage, temporary ones included, and the number of rows of each table."""
    with organization.node.database.reading() as connection:
        rows = {
            table: connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
            for table in TABLES
        }
    return organization.files(), rows
