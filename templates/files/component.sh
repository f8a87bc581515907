#!/bin/sh
# Installs a component's lock into a tree of its own, every file by its hash; the image copies that
# tree over its virtual environment. It stays in no image.
# usage: component.sh LOCK
set -eu

tools=/mnt
tree=/opt/component
export UV_HTTP_RETRIES=8 UV_NO_CACHE=1 UV_NO_PROGRESS=1 UV_SYSTEM_CERTS=1
mkdir -p "$tree"

# A site's own index, sources and credentials; a wheelhouse goes before them.
[ ! -f /media/site ] || . /media/site
for source in "$tools"/wheelhouse/*/; do
    [ -d "$source" ] || continue
    export "$(basename "$source")=file://${source%/}"
done

# What is only there as source is built against the framework of this stage, with what build.lock
# pins. What is built so is of no use to another framework, and its code must not reach a cache.
"$tools/bin/uv" pip install --no-deps --require-hashes --requirement "$tools/build.lock"
"$tools/bin/uv" pip install --no-deps --require-hashes --requirement "$1" --prefix "$tree" \
    --no-build-isolation

find "$tree" -depth -type d -name tests ! -path "*.dist-info/*" -exec rm -r {} +
# Bytecode notes the time of its source, and the step gives that another one.
find "$tree" -newermt @1577836800 -exec touch --no-dereference --date=@1577836800 {} +
"$VIRTUAL_ENV/bin/python" "$tools/compile.py" "$tree/lib"
