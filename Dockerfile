# One image for all processes: `python -m codelab web`, `worker`, `beat` or `flower`, and `python manage.py …`.
#
# A digest pins the base image harder than its tag: resolve it with `docker buildx imagetools inspect python:3.12-slim`,
# append it to the tag (python:3.12-slim@sha256:…) in both stages, and renew it with the lock.

FROM python:3.12-slim AS build

# For your own package index: docker compose build --build-arg PIP_INDEX_URL=… --build-arg UV_DEFAULT_INDEX=…
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never

# uv, because the lock has an override that pip's resolver refuses (docs/dependencies.md). Only wheels are
# installed, so no compiler is needed.
COPY requirements/uv.txt requirements/base.txt /requirements/
RUN python -m venv /opt/uv \
    && /opt/uv/bin/python -m pip install --quiet --require-hashes --only-binary :all: -r /requirements/uv.txt \
    && python -m venv --without-pip /opt/venv \
    && /opt/uv/bin/uv --no-progress pip sync --python /opt/venv/bin/python --require-hashes --only-binary :all: \
        --compile-bytecode /requirements/base.txt

WORKDIR /app
COPY manage.py celeryconfig.py ./
COPY agents agents
COPY codelab codelab
COPY llm llm
COPY sessions sessions
# The chat page is a client, too.
COPY clients/javascript/src clients/javascript/src
# The key exists only for this command. Permissions must not depend on the umask of the build.
RUN CODELAB_SECRET_KEY=only-for-collectstatic CODELAB_DATA_DIR=/data \
        /opt/venv/bin/python manage.py collectstatic --no-input --verbosity 0 \
    && /opt/venv/bin/python -m compileall -q . \
    && chmod -R a+rX,go-w /app /data


FROM python:3.12-slim

COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
COPY --from=build /data /data
# Beat writes its schedule to /data, but must not write to the static files there.
RUN groupadd --gid 10001 codelab \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin codelab \
    && install -d -o codelab -g codelab -m 0750 /metrics \
    && chown codelab:codelab /data

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    CODELAB_DATA_DIR=/data \
    HOME=/tmp \
    HOST=0.0.0.0 \
    FLOWER_HOST=0.0.0.0

# What this image was built from: docker compose build --build-arg REVISION=$(git rev-parse HEAD)
ARG REVISION
LABEL org.opencontainers.image.title="CodeLab AI Service" \
    org.opencontainers.image.version=0.1.0 \
    org.opencontainers.image.revision=$REVISION

WORKDIR /app
USER 10001:10001
EXPOSE 8000 5555
STOPSIGNAL SIGTERM

# For the web process; docker-compose.yml has those of the others.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 CMD ["bash", "codelab/probe.sh", "8000", "/live"]

ENTRYPOINT ["python", "-m", "codelab"]
CMD ["web"]
