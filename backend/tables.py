"""Every table of an organization's database, imported so that metadata and migrations know them all."""

from sqlmodel import SQLModel

from backend.access.oidc import tables as oidc
from backend.access.organizations import tables as organizations
from backend.access.sessions import tables as sessions
from backend.access.throttle import tables as throttle
from backend.access.tokens import tables as tokens
from backend.access.users import tables as users
from backend.assets.compute_plans import tables as compute_plans
from backend.assets.data_managers import tables as data_managers
from backend.assets.data_samples import tables as data_samples
from backend.assets.failure_reports import tables as failure_reports
from backend.assets.functions import tables as functions
from backend.assets.models import tables as models
from backend.assets.performances import tables as performances
from backend.assets.profiling import tables as profiling
from backend.assets.tasks import tables as tasks
from backend.engine.bridge import tables as bridge
from backend.engine.compute import tables as compute
from backend.monitoring import tables as monitoring

ROOMS = (
    *(oidc, organizations, sessions, throttle, tokens, users),
    *(functions, data_managers, data_samples, compute_plans, tasks),
    *(models, performances, profiling, failure_reports),
    *(bridge, compute, monitoring),
)

metadata = SQLModel.metadata
