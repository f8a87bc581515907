#!/bin/sh
# Installs one lock into the virtual environment, every file by its hash, and puts it at LOCK.
# It runs from a mount of the tools stage and stays in no image.
# usage: install.sh LOCK
set -eu

tools=$(dirname "$0")
# What fetch.sh found out of the lock: what is there as a wheel, and what only as source.
wheels=/media/wheels/wheels
sources=/media/wheels/sources
fetched=/media/wheels/$(basename "$1")
[ -f "$fetched" ] || {
    echo "nothing of $1 was fetched for this step; it needs the mounts that uv_mounts() names" >&2
    exit 1
}
install -D -m 644 "$fetched" "$1"
# On the environment's file system, in a folder that the layer has anyway, and gone at the end.
work=$VIRTUAL_ENV/.install
mkdir "$work" "$work/shared" "$work/built" "$work/tmp"
export TMPDIR="$work/tmp" UV_HTTP_RETRIES=8 UV_NO_PROGRESS=1 UV_SYSTEM_CERTS=1

# A site's own index, sources and credentials; a wheelhouse goes before them.
[ ! -f /media/site ] || . /media/site

# A wheelhouse holds a directory for each source of wheels and stands in for its address.
for source in "$tools"/wheelhouse/*/; do
    [ -d "$source" ] || continue
    export "$(basename "$source")=file://${source%/}"
done

# The cache of all images can only be read here, where code of packages runs; what uv wants to write
# is beside it. If the cache was emptied since, this step fetches the wheels for itself.
for bucket in /srv/archive-* /srv/simple-* /srv/wheels-*; do
    [ ! -d "$bucket" ] || ln -s "$bucket" "$work/shared/"
done
install_wheels() {
    "$tools/bin/uv" pip install --no-deps --require-hashes --no-build --requirement "$wheels" "$@"
}
if install_wheels --cache-dir "$work/shared" --link-mode copy --offline 2> "$work/log"; then
    cat "$work/log" >&2
else
    install_wheels --cache-dir "$work/own" --link-mode hardlink
fi

# What is only there as source is built with what build.lock pins, not with what is newest today, and
# by nobody, who sees no more of a site than its index; only the wheels are taken from there.
if [ -s "$sources" ]; then
    mkdir -m 700 "$work/nobody" "$work/nobody/tmp"
    chown -R 65534:65534 "$work/nobody"
    set -- HOME="$work/nobody" TMPDIR="$work/nobody/tmp"
    for name in LANG LC_ALL PATH PYTHONDONTWRITEBYTECODE VIRTUAL_ENV \
        NETRC UV_DEFAULT_INDEX UV_HTTP_RETRIES UV_INDEX UV_NO_PROGRESS UV_SYSTEM_CERTS \
        http_proxy https_proxy no_proxy all_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY; do
        eval "value=\${$name-}"
        [ -z "$value" ] || set -- "$@" "$name=$value"
    done
    chroot --userspec=65534:65534 --groups= / env -i "$@" \
        "$tools/bin/uv" pip install --no-deps --require-hashes --requirement "$sources" \
        --require-build-hashes --build-constraints "$tools/build.lock" \
        --python "$VIRTUAL_ENV/bin/python" \
        --cache-dir "$work/nobody/cache" --target "$work/nobody/tree"
    find "$work/nobody/cache" -path "*/sdists-*" -name "*.whl" -type f -exec cp -t "$work/built" {} +
    awk '/^[^ #]/ { print $1 }' "$sources" > "$work/names"
    "$tools/bin/uv" pip install --no-deps --no-index --no-build --no-cache --link-mode hardlink \
        --find-links "$work/built" --requirement "$work/names"
fi
rm -r "$work"

# uv notes when it met a wheel that is a file, which no two builds have the same.
find "$VIRTUAL_ENV/lib" -name uv_cache.json -exec sh -euc 'for note; do
    rm "$note"
    sed -i "/\/uv_cache\.json,/d" "$(dirname "$note")/RECORD"
done' sh {} +

# Nothing that is served or trained runs the tests of packages; licenses stay, whatever their folder.
find "$VIRTUAL_ENV/lib" -depth -type d \( -name tests -o -path "*/torch/test" \) \
    ! -path "*.dist-info/*" -exec rm -r {} +
find "$VIRTUAL_ENV/lib" -type f -path "*/torch/bin/*" \( -name "test_*" -o -name "*Test" \) -delete

# Bytecode notes the time of its source: that is the same in every build. What has that time is not
# touched again, and so is not copied into the next layer.
set_time() {
    find "$VIRTUAL_ENV/lib" -newermt @1577836800 -exec touch --no-dereference --date=@1577836800 {} +
}
set_time

# The image's own interpreter compiles, which spares the start its seconds, but not PyTorch's tools
# for tests.
"$VIRTUAL_ENV/bin/python" "$tools/compile.py" "$VIRTUAL_ENV/lib" "/(test|testing/_internal)/"
set_time
