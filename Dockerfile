# One image for every part that runs in a cluster: API, control actors, orchestrator, jobs.
#
#   docker build --tag substra-ray .          make images builds and pushes, with docker, podman or buildah
#
# `--target dev` builds the development image: debugger, profiler, tests, and sources that may change in a running pod.
# PYTHON_IMAGE may be any Linux with Python 3.11 or 3.12 and its venv module.
ARG PYTHON_IMAGE=docker.io/library/python:3.12-slim

FROM ${PYTHON_IMAGE} AS build
# Where packages come from, when it is not the public index: pip's own variables.
ARG PIP_INDEX_URL PIP_FIND_LINKS PIP_NO_INDEX PIP_CERT
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_REQUIRE_VIRTUALENV=1
RUN python3 -m venv /opt/substra && python3 -m venv /tmp/builder
COPY requirements/base.txt requirements/build.txt /src/requirements/
RUN /opt/substra/bin/python -m pip install --require-hashes --requirement /src/requirements/base.txt \
 && /tmp/builder/bin/python -m pip install --require-hashes --requirement /src/requirements/build.txt
COPY pyproject.toml README.md LICENSE /src/
COPY backend /src/backend
COPY cli /src/cli
COPY kuberay /src/kuberay
COPY network /src/network
COPY orchestrator /src/orchestrator
COPY protos /src/protos
COPY ray_jobs /src/ray_jobs
# Bytecode that is never compared with its source: nothing is compiled, or written, when a container starts.
RUN cd /src && /tmp/builder/bin/python -m hatchling build -t wheel -d /tmp/wheel \
 && /opt/substra/bin/python -m pip install --no-deps --no-index /tmp/wheel/*.whl \
 && rm -rf /opt/substra/bin/uv /opt/substra/bin/uvx \
 && cd /opt/substra/lib/python3*/site-packages && rm -rf pip* kubernetes/aio ray/jars ray/llm ray/rllib \
 && find /opt/substra -name '*.js.map' -delete \
 && find /opt/substra -name tests -type d -path '*/site-packages/*' -prune -exec rm -rf {} + \
 && /opt/substra/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/substra/lib
# The first process of function containers, with an interpreter of its own: docs/kuberay.md.
RUN cd /tmp && /opt/substra/bin/python -m ray_jobs.agent.bundle /opt/substra/agent

FROM ${PYTHON_IMAGE} AS product
COPY --from=build /opt/substra /opt/substra
ENV PATH=/opt/substra/bin:/usr/local/bin:/usr/bin:/bin HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 1001:1001
WORKDIR /tmp
ENTRYPOINT ["substra-ray"]

FROM build AS develop
COPY requirements/develop.txt /src/requirements/
RUN /tmp/builder/bin/python -m pip --python /opt/substra/bin/python install --require-hashes --requirement /src/requirements/develop.txt

# What runs is /src, writable: the compiled copy is never compared with its source.
FROM product AS dev
COPY --from=develop /opt/substra /opt/substra
COPY --from=develop --chown=1001:1001 /src /src
ENV PYTHONPATH=/src

FROM product
