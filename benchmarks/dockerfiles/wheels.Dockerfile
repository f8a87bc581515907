# Not measured: fills the cache that the floor unpacks from with the wheels of the locks.
ARG BASE
FROM ${BASE}
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3.11 python3.11-venv \
 && rm --recursive --force /var/lib/apt/lists/*
RUN python3.11 -m venv /opt/venv
COPY build.lock framework.lock libraries.lock /opt/dlc/
ARG SOURCES
RUN --mount=type=secret,id=ca-bundle,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,id=bench-wheels,target=/srv \
    --mount=type=bind,target=/mnt \
    rm --recursive --force /srv/* \
 && /opt/venv/bin/pip install --require-hashes --requirement /opt/dlc/build.lock \
 && env ${SOURCES} /opt/venv/bin/pip wheel --no-deps --require-hashes --wheel-dir /srv \
        --requirement /opt/dlc/framework.lock --requirement /opt/dlc/libraries.lock
