# The same image as one would write it by hand: pip and the same locks, with a cache for pip too.
ARG BASE
FROM ${BASE}
ENV LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1
RUN --mount=type=cache,id=apt-debian12,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,id=apt-lists-debian12,target=/var/lib/apt/lists,sharing=locked \
    apt-get update \
 && apt-get install --yes --no-install-recommends \
        ca-certificates openjdk-17-jre-headless python3.11 python3.11-venv
RUN python3.11 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY build.lock framework.lock libraries.lock /opt/dlc/
ARG SOURCES
RUN --mount=type=secret,id=ca-bundle,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,id=bench-pip,target=/root/.cache/pip \
    --mount=type=bind,target=/mnt \
    pip install --require-hashes --requirement /opt/dlc/build.lock \
 && env ${SOURCES} pip install --no-deps --require-hashes \
        --requirement /opt/dlc/framework.lock --requirement /opt/dlc/libraries.lock
RUN useradd --create-home model-server
COPY dockerd-entrypoint.py /usr/local/bin/
ENTRYPOINT ["python", "/usr/local/bin/dockerd-entrypoint.py"]
CMD ["serve"]
