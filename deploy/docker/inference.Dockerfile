# syntax=docker/dockerfile:1
# Ray's head and workers. Torch brings CUDA; the node brings the driver (NVIDIA's container toolkit).
#   docker build --file deploy/docker/inference.Dockerfile --tag andon/inference:0.1.0 .
# Without a GPU, some 5 GB smaller: --build-arg TORCH_BACKEND=cpu
ARG BASE=python:3.11.14-slim-bookworm

FROM ${BASE} AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ARG TORCH_BACKEND=
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY constraints.txt pyproject.toml README.md LICENSE ./
# The libraries first: they are gigabytes, and change less often than the code.
RUN pip install --no-cache-dir --constraint constraints.txt uv \
 && uv venv /opt/andon \
 && if [ -n "${TORCH_BACKEND}" ]; then export UV_TORCH_BACKEND="${TORCH_BACKEND}"; fi \
 && uv pip compile --quiet --constraint constraints.txt --extra serve --extra runtimes --extra trace \
      pyproject.toml --output-file /tmp/needed.txt \
 && uv pip install --no-cache --python /opt/andon/bin/python --requirement /tmp/needed.txt
COPY pipeline pipeline
COPY workers workers
RUN uv pip install --no-cache --no-deps --python /opt/andon/bin/python .

FROM ${BASE}
LABEL org.opencontainers.image.title="Andon inference" \
      org.opencontainers.image.licenses="Apache-2.0"
# KubeRay's probes call wget through bash; without it no worker ever becomes ready.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 wget \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/andon /opt/andon
# Which GPUs it sees is for the device plugin, or `docker run --gpus`, to say: not every pod of this image asks for one.
ENV PATH=/opt/andon/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
WORKDIR /tmp
CMD ["ray", "--help"]
