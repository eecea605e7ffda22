# syntax=docker/dockerfile:1
# Cameras, alerting with what speaks to PLCs, the page, checks: no torch, no ray.
#   docker build --file deploy/docker/worker.Dockerfile --tag andon/worker:0.1.0 .
ARG BASE=python:3.11.14-slim-bookworm

FROM ${BASE} AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY constraints.txt pyproject.toml README.md LICENSE ./
# The libraries first: they change less often than the code.
RUN pip install --no-cache-dir --constraint constraints.txt uv \
 && uv venv /opt/andon \
 && uv pip compile --quiet --constraint constraints.txt --extra genicam --extra video --extra plc --extra console --extra trace \
      pyproject.toml --output-file /tmp/needed.txt \
 && uv pip install --no-cache --python /opt/andon/bin/python --requirement /tmp/needed.txt
COPY pipeline pipeline
COPY workers workers
RUN uv pip install --no-cache --no-deps --python /opt/andon/bin/python .

FROM ${BASE}
LABEL org.opencontainers.image.title="Andon worker" \
      org.opencontainers.image.licenses="Apache-2.0"
# A new named volume takes over who owns the folder that it hides.
RUN install --directory --owner=10001 --group=10001 /spool /console
COPY --from=build /opt/andon /opt/andon
ENV PATH=/opt/andon/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# Runs with a read-only root file system; /tmp is all that it may write to.
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["andon"]
CMD ["--help"]
