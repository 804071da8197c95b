# syntax=docker/dockerfile:1
# The worker and the command line.
#
#   docker build -t pgembedd .                                the model is fetched at the first start
#   docker build -t pgembedd --build-arg MODEL=gte-small .    the model is inside: a start needs no network
#   docker build -t pgembedd --build-arg GPU=1 .              for PGEMBEDD_DEVICE=cuda: two gigabytes more
#
# Give the container a database (DATABASE_URL, DATABASE_URL_FILE or libpq's PGHOST, PGUSER, ...) and a command;
# the default command is `run`.
#
# A tag can be moved. To build on the same bytes again, give the base by the digest that
# `docker image inspect --format '{{index .RepoDigests 0}}' python:3.13-slim-bookworm` prints:
#   docker build -t pgembedd --build-arg BASE=python@sha256:... .

ARG BASE=python:3.13-slim-bookworm

FROM $BASE AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# Only wheels, each checked against its hash: no compiler, and no package that the lock file does not name.
COPY requirements.lock requirements-build.lock requirements-gpu.lock ./
RUN python -m venv /opt/build && python -m venv /opt/pgembedd \
    && /opt/build/bin/pip install --only-binary=:all: --require-hashes -r requirements-build.lock \
    && /opt/pgembedd/bin/pip install --only-binary=:all: --require-hashes -r requirements.lock \
    && rm -r /opt/pgembedd/lib/python3*/site-packages/onnx/backend/test \
    && find /opt/pgembedd -depth -type d -name tests -exec rm -r {} +

# onnxruntime-gpu takes the place of onnxruntime: both are one module.
ARG GPU=
RUN if [ -n "$GPU" ]; then /opt/pgembedd/bin/pip uninstall --yes onnxruntime \
    && /opt/pgembedd/bin/pip install --only-binary=:all: --require-hashes -r requirements-gpu.lock; fi

COPY pyproject.toml hatch_build.py README.md LICENSE NOTICE ./
COPY worker/pgembedd worker/pgembedd
COPY migrations migrations
COPY sql sql
# The repository whose pages messages name (hatch_build.py).
ARG PGEMBEDD_REPOSITORY_URL=
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation -w /wheels . \
    && /opt/pgembedd/bin/pip install --no-deps --no-index /wheels/*.whl

# `model pull` checks the digests and builds the graph. Without MODEL the cache stays empty.
ARG MODEL=
ENV PGEMBEDD_CACHE_DIR=/var/cache/pgembedd HF_HOME=/var/cache/pgembedd/huggingface
RUN mkdir -p "$HF_HOME" && if [ -n "$MODEL" ]; then /opt/pgembedd/bin/pgembedd model pull "$MODEL"; fi

FROM $BASE
LABEL org.opencontainers.image.title="pgembedd" \
      org.opencontainers.image.description="The embedding daemon for Postgres" \
      org.opencontainers.image.licenses="Apache-2.0"
# Not by useradd, which a small base may lack.
RUN echo 'pgembedd:x:10001:10001::/nonexistent:/usr/sbin/nologin' >> /etc/passwd \
    && echo 'pgembedd:x:10001:' >> /etc/group
COPY --from=build /opt/pgembedd /opt/pgembedd
COPY --from=build --chown=10001:10001 /var/cache/pgembedd /var/cache/pgembedd
ENV PATH=/opt/pgembedd/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HUB_DISABLE_TELEMETRY=1 \
    ORT_DISABLE_TELEMETRY=1 \
    PGEMBEDD_CACHE_DIR=/var/cache/pgembedd \
    HF_HOME=/var/cache/pgembedd/huggingface
USER 10001:10001
WORKDIR /tmp

# SIGTERM drains within PGEMBEDD_GRACE_S (20 s): the container's stop timeout must be longer.
STOPSIGNAL SIGTERM

# `run` answers HTTP as well, by default on the container's own loopback address (PGEMBEDD_HTTP_HOST and a token change
# that). A worker waits for a database that is away and must not be killed then, so the probe is `live`.
ENV PGEMBEDD_HTTP=1
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s --retries=3 CMD ["pgembedd", "health", "--probe", "live"]

ENTRYPOINT ["pgembedd"]
CMD ["run"]
