#!/bin/sh
# Installs one lock into the virtual environment, every file by its hash.
# It runs from a mount of the tools stage and stays in no image.
# usage: install.sh LOCK
set -eu

tools=$(dirname "$0")
export UV_CACHE_DIR=/srv UV_LINK_MODE=copy UV_NO_PROGRESS=1 UV_SYSTEM_CERTS=1
# Builds of source distributions leave lock files behind; in the cache mount they stay out of layers.
export TMPDIR=/srv/tmp
mkdir -p "$TMPDIR"

# A site's own index, sources and credentials; a wheelhouse goes before them.
[ ! -f /media/site ] || . /media/site

# A wheelhouse holds a directory for each source of wheels and stands in for its address.
for source in "$tools"/wheelhouse/*/; do
    [ -d "$source" ] || continue
    export "$(basename "$source")=file://${source%/}"
done

# The lock is complete, so nothing is left to resolve; what is only there as source is built with
# what build.lock pins, not with what is newest today.
"$tools/bin/uv" pip install --no-deps --require-hashes --requirement "$1" \
    --require-build-hashes --build-constraints "$tools/build.lock"

# Nothing that is served or trained runs the tests of packages; licenses stay, whatever their folder.
find "$VIRTUAL_ENV/lib" -depth -type d \( -name tests -o -path "*/torch/test" \) \
    ! -path "*.dist-info/*" -exec rm -r {} +

# The image's own interpreter compiles, which spares the start its seconds, but not PyTorch's tools
# for tests. Files that it cannot compile (templates, Python 2) are no modules.
"$VIRTUAL_ENV/bin/python" -m compileall -qq -j 0 -x "/(test|testing/_internal)/" \
    "$VIRTUAL_ENV/lib" || true
