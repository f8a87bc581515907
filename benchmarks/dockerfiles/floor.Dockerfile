# What no build can go below: the same distribution packages, the same wheels unpacked from a warm
# cache, and the export. Nothing is checked or compiled, and the image does not run.
ARG BASE
FROM ${BASE}
RUN --mount=type=cache,id=apt-debian12,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,id=apt-lists-debian12,target=/var/lib/apt/lists,sharing=locked \
    apt-get update \
 && apt-get install --yes --no-install-recommends \
        ca-certificates openjdk-17-jre-headless python3.11 unzip
RUN --mount=type=cache,id=bench-wheels,target=/srv \
    find /srv -name '*.whl' -fprint0 /tmp/wheels \
 && xargs --null --arg-file=/tmp/wheels --max-procs=0 -I{} unzip -q -o {} -d /opt/site \
 && test -d /opt/site/torch
