# heygem in a container, for the CPU or, with --build-arg TORCH_INDEX= , for NVIDIA GPUs.
# docs/operations.md says how to build and run it; compose.yaml runs worker, studio and metrics.
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BASE} AS build
# PyTorch without CUDA is in an index of its own. Empty: the package index, whose build brings CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/heygem
COPY constraints constraints
RUN python3 -m venv /opt/venv \
    && torch=$(grep '^torch==' constraints/base.txt) \
    && if [ -n "$TORCH_INDEX" ]; then /opt/venv/bin/pip install --index-url "$TORCH_INDEX" "$torch"; \
       else /opt/venv/bin/pip install "$torch"; fi
COPY pyproject.toml setup.py README.md LICENSE NOTICE ./
COPY heygem heygem
COPY notebooks notebooks
COPY params params
COPY samples samples
COPY deploy/container/entrypoint.sh deploy/container/entrypoint.sh
# Checked out beside its notebooks and recipes: the studio serves these. Models are checked by hash.
RUN /opt/venv/bin/pip install -c constraints/base.txt -e '.[notebooks]' \
    && HEYGEM_HOME=/opt/heygem/cache /opt/venv/bin/heygem models pull \
    && chmod 0755 deploy/container/entrypoint.sh

FROM ${BASE}
LABEL org.opencontainers.image.title="heygem" \
      org.opencontainers.image.description="Make a person in a video speak a new audio track" \
      org.opencontainers.image.licenses="Apache-2.0"
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libgl1 libglib2.0-0 python3 tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 heygem \
    && useradd --uid 10001 --gid heygem --no-create-home --home-dir /data --shell /usr/sbin/nologin heygem \
    && install -d -o heygem -g heygem -m 0700 /data /var/cache/heygem /var/lib/heygem
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/heygem /opt/heygem
# The root file system can be read-only: all that is written goes to these volumes and to /tmp.
ENV PATH=/opt/venv/bin:$PATH \
    HEYGEM_HOME=/var/cache/heygem \
    HEYGEM_RECORDS=/var/lib/heygem \
    HEYGEM_QUEUE=/data/runs/queue.db \
    HF_HUB_OFFLINE=1 MLFLOW_DISABLE_TELEMETRY=true \
    LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/var/cache/heygem/matplotlib NUMBA_CACHE_DIR=/var/cache/heygem/numba
VOLUME ["/data", "/var/cache/heygem", "/var/lib/heygem"]
WORKDIR /data
USER 10001:10001
HEALTHCHECK --interval=60s --timeout=20s --start-period=60s --retries=3 \
    CMD ["heygem", "health"]
# tini passes signals on and reaps what workers leave.
ENTRYPOINT ["/usr/bin/tini", "--", "/opt/heygem/deploy/container/entrypoint.sh"]
CMD ["heygem", "worker"]
