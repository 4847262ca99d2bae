"""Every table of an organization's database, imported so that metadata and migrations know them all."""

from sqlmodel import SQLModel

from backend.access.organizations import tables as organizations
from backend.access.throttle import tables as throttle
from backend.access.tokens import tables as tokens
from backend.access.users import tables as users
from backend.assets.data_managers import tables as data_managers
from backend.assets.data_samples import tables as data_samples
from backend.assets.functions import tables as functions

ROOMS = (organizations, throttle, tokens, users, data_managers, data_samples, functions)

metadata = SQLModel.metadata
