"""`/metrics`: for this machine, or for who has the token. To all others it is not there."""

import hmac
import ipaddress
from dataclasses import asdict

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from backend.access.caller import SessionNode
from backend.engine.compute.demands import Site
from backend.kit.errors import NotFound
from backend.monitoring.collector import OrganizationCollector

FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")
router = APIRouter(tags=["metrics"], include_in_schema=False)


def is_local(request: Request) -> bool:
    """Whether a process of this machine asks, and for itself: what a proxy passes on may come from anywhere."""
    if request.client is None or any(name in request.headers for name in FORWARDED):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def may_read(request: Request, token: str) -> bool:
    """Whether the caller may read metrics; a configured token is needed by everybody."""
    if not token:
        return is_local(request)
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(
        given.strip().encode(), token.encode()
    )


@router.get("/metrics")
@router.get("/metrics/")
def show_metrics(request: Request, node: SessionNode) -> Response:
    """All metrics of the organization in Prometheus' text form, whichever of its processes answers."""
    settings = node.settings
    if not settings.ENABLE_METRICS or not may_read(request, settings.METRICS_TOKEN):
        raise NotFound
    registry = CollectorRegistry()
    has = asdict(Site.of(settings).has)
    registry.register(OrganizationCollector(node.database, settings.NAME, settings.MSP_ID, has))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
