"""What reads are measured on: 100 plans of 100 tasks, 10,000 samples in 10 datasets."""

from collections.abc import Iterator
from datetime import timedelta

from backend.fixtures.federated import Dataset, FederatedPlan, Functions
from backend.fixtures.sample import Batch
from backend.fixtures.story import ORG_1, ORG_2, Story
from backend.fixtures.writing import write_events
from backend.kit.clock import utc_now
from backend.node import Node

PLANS, ROUNDS = 100, 20  # a round has five tasks
DATASETS, SAMPLES = 10, 1_000


def told(channel: str) -> Iterator[Batch]:
    """Batches of events, in the order of a ledger."""
    story = Story(channel, start=utc_now() - timedelta(days=3), step_s=0.001)
    for organization in (ORG_1, ORG_2):
        story.organization(organization)
    functions = Functions.told(story, "")
    datasets = [
        Dataset.told(story, f"dataset {n}", (ORG_1, ORG_2)[n % 2], SAMPLES) for n in range(DATASETS)
    ]
    yield story.take()
    for index in range(PLANS):
        pair = (datasets[2 * index % DATASETS], datasets[(2 * index + 1) % DATASETS])
        plan = FederatedPlan(story, f"plan {index}", functions, pair, ROUNDS)
        plan.register(learning_rate=f"0.{index % 9 + 1}", rounds=str(ROUNDS))
        plan.execute()  # all of it: nothing is left for an engine to do
        yield story.take()


def seed(node: Node, channel: str) -> None:
    """Write all of it; the database has its schema and accounts."""
    write_events(node, channel, told(channel))
    with node.database.reading() as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")
