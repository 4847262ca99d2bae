"""The application of one organization: `create_app(settings)`. No Ray here; serve.py and asgi.py host it."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial

import anyio.to_thread
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware

from backend.access.oidc.routes import router as single_sign_on
from backend.access.organizations.membership import Membership
from backend.access.organizations.routes import router as organizations
from backend.access.provisioning import provision
from backend.access.sessions.routes import router as sessions
from backend.access.tokens.routes import router as tokens
from backend.access.users.routes import router as users
from backend.assets.compute_plans.routes import router as compute_plans
from backend.assets.data_managers.routes import router as data_managers
from backend.assets.data_samples.routes import router as data_samples
from backend.assets.failure_reports.routes import router as logs
from backend.assets.functions.routes import router as functions
from backend.assets.models.routes import router as models
from backend.assets.news_feed.routes import router as news_feed
from backend.assets.performances.routes import router as performances
from backend.assets.profiling.routes import router as profiling
from backend.assets.tasks.routes import router as tasks
from backend.assets.workflow_graph.routes import router as workflow_graph
from backend.engine.compute.routes import router as runner
from backend.kit import exception_answers
from backend.kit.gateway import Gateway, slash_or_not_found
from backend.kit.migrations import SchemaUnusable, prepare
from backend.kit.reading import Reads
from backend.monitoring.counters import Counters
from backend.monitoring.queries import count_queries
from backend.monitoring.requests import CountedRequests
from backend.monitoring.routes import router as dashboard
from backend.node import Node
from backend.schema.routes import router as schema
from backend.settings import Settings

CORS_METHODS = ["DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT"]
CORS_HEADERS = [
    *("accept", "accept-encoding", "authorization", "content-type", "dnt", "origin"),
    *("user-agent", "x-csrftoken", "x-requested-with", "token"),
]
ROUTERS = [
    organizations,
    sessions,
    single_sign_on,
    tokens,
    users,
    functions,
    data_managers,
    data_samples,
    compute_plans,
    tasks,
    models,
    performances,
    profiling,
    logs,
    news_feed,
    workflow_graph,
    schema,
    runner,
    dashboard,
]
READ_THREADS = 16  # one a connection of the pool (rule 11), as many that wait for others
THREADS_BESIDE_POOL = 8  # for what holds a thread without a connection: log-ins, ledger calls


def create_app(settings: Settings, node: Node | None = None) -> FastAPI:
    """The whole API of one organization.

    A `node` given from outside stays open at the end; an own one is built and closed with the application.
    """
    app = FastAPI(
        title="Substra Ray",
        version=settings.BACKEND_VERSION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # asked for at each request
        lifespan=_lifespan(settings, node),
    )
    app.state.default_domain = settings.DEFAULT_DOMAIN
    app.state.trusted_proxies = settings.TRUSTED_PROXIES
    if node is not None:
        app.state.node = node
    exception_answers.register(app)
    for router in ROUTERS:
        app.include_router(router)
    app.router.default = slash_or_not_found(lambda: app.router.routes)
    reads = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    app.state.api_routes = reads
    threads = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="read")
    app.state.read_threads = threads
    answer = exception_answers.answer_to
    app.add_middleware(Reads, routes=reads, threads=threads, answer=answer)
    # The last one added is the outermost: CORS headers stand on redirects and errors too.
    app.add_middleware(Gateway, prefix=settings.prefix)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.CORS_ORIGIN_WHITELIST,
        allow_credentials=settings.CORS_ALLOW_CREDENTIALS,
        allow_methods=CORS_METHODS,
        allow_headers=CORS_HEADERS,
        max_age=86400,
    )
    if settings.ENABLE_METRICS:
        app.add_middleware(CountedRequests, counters=lambda: getattr(app.state, "counters", None))
    return app


def _lifespan(settings: Settings, given: Node | None):  # type: ignore[no-untyped-def]
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        node = given or Node.build(settings)
        app.state.node = node
        try:
            await anyio.to_thread.run_sync(start, node)
        except SchemaUnusable as error:  # the server that hosts us is told no reason
            app.state.unusable = str(error)
            raise
        size = node.database.engine.pool.size()  # type: ignore[attr-defined]
        anyio.to_thread.current_default_thread_limiter().total_tokens = size + THREADS_BESIDE_POOL
        counters = app.state.counters = Counters(node.database)
        if settings.ENABLE_METRICS:
            count_queries(node.database.engine, counters)
        membership = Membership(node)
        membership.start()
        try:
            yield
        finally:
            membership.stop()
            await anyio.to_thread.run_sync(partial(counters.flush, now=True))
            app.state.read_threads.shutdown(wait=False)
            if given is None:
                node.close()

    return lifespan


def start(node: Node) -> None:
    """What every process of an organization needs before it serves: the schema and the accounts."""
    prepare(node.database)
    provision(node)
