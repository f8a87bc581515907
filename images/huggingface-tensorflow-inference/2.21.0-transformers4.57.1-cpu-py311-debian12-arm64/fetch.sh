#!/bin/sh
# Fetches the wheels of one lock into the cache of all images, every file by its hash. Beside the
# lock it writes for install.sh which requirements have a wheel, and which are only there as source.
# It runs from a mount of the tools stage, and only where no package's code has run: what is in the
# cache is not looked at again.
# usage: fetch.sh LOCK
set -eu

tools=$(dirname "$0")
folder=$(dirname "$1")
export UV_CACHE_DIR=/srv UV_LINK_MODE=hardlink UV_HTTP_RETRIES=8 UV_NO_PROGRESS=1 UV_SYSTEM_CERTS=1
umask 022
mkdir -p /srv/tmp
work=$(mktemp -d -p /srv/tmp)
trap 'rm -rf "$work"' EXIT

# A site's own index, sources and credentials; a wheelhouse goes before them.
[ ! -f /media/site ] || . /media/site

# A wheelhouse holds a directory for each source of wheels and stands in for its address.
for source in "$tools"/wheelhouse/*/; do
    [ -d "$source" ] || continue
    export "$(basename "$source")=file://${source%/}"
done

# Lines of the lock for one requirement, or all but those.
entry() {
    awk -v name="$1" -v wanted="$2" \
        '/^[^ #]/ { split($0, parts, /[^A-Za-z0-9._-]/); found = parts[1] == name } found == wanted'
}

cp "$1" "$folder/wheels"
: > "$folder/sources"
# The lock is complete, so nothing is left to resolve. uv names what has no wheel one by one.
until "$tools/bin/uv" pip install --no-deps --require-hashes --requirement "$folder/wheels" \
    --no-build --target "$work/tree" 2> "$work/log"; do
    name=$(sed -n 's/^hint: Wheels are required for `\([^`]*\)` because .*/\1/p' "$work/log")
    entry "$name" 1 < "$folder/wheels" > "$work/source"
    if [ ! -s "$work/source" ]; then
        cat "$work/log" >&2
        exit 1
    fi
    cat "$work/source" >> "$folder/sources"
    entry "$name" 0 < "$folder/wheels" > "$work/wheels"
    cat "$work/wheels" > "$folder/wheels"
done
