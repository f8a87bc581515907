#!/bin/sh
# Installs the distribution's packages that a step's part of system.lock has: exactly these versions,
# each by its SHA-256. Arguments: that part, and the packages that the step asks for. The archive that
# apt's sources name is asked first, and the site's snapshot service for what it has no more; for what is
# an accelerator's its REPOSITORY alone.
set -eu
. /etc/os-release
lock=$1
shift
asked=" $* "
stamp=$(sed -n 's/^# snapshot: //p' "$lock")
debs=/var/cache/apt/archives/locked
mkdir -p "$debs" /media/lists/partial
: > /media/wanted
: > /media/new
: > /media/said

# Without lists apt tells of its sources only what it would download.
apt-get update --print-uris > /media/uris
from() {
    sed -n "/dists\/$1\/InRelease'/{s/^'//;s/\/dists\/.*//p;q}" /media/uris
}
main=$(from "$VERSION_CODENAME")
security=$(from "$VERSION_CODENAME-security")

is_installed() {
    [ "$(dpkg-query --show --showformat '${db:Status-Abbrev}${Version}' "$1" 2> /dev/null)" = "ii $2" ]
}
is_whole() {
    [ -f "$debs/$1.deb" ] && [ "$(sha256sum < "$debs/$1.deb")" = "$1  -" ]
}
# apt's own program, which every base has, takes addresses, files and hashes in turn: so by threes.
fetch() {
    [ -s "$1" ] || return 0
    # What does not come is missed below.
    if ! xargs -n 90 /usr/lib/apt/apt-helper -o Acquire::Retries=2 -o APT::Sandbox::User=root \
        download-file < "$1" >> /media/said 2>&1; then
        echo "not all of $1 came" >> /media/said
    fi
}

grep -v '^#' "$lock" > /media/packages
while read -r pin _ archive path hash; do
    name=${pin%%=*}
    ! is_installed "$name" "${pin#*=}" || continue
    if [ "$archive" = base ]; then
        echo "the base lacks $pin, which no archive has: lock again with this base" >&2
        exit 1
    fi
    echo "$archive $path ${hash#sha256:}" >> /media/wanted
    dpkg-query --show "$name" > /media/null 2>&1 || echo "$name" >> /media/new
done < /media/packages

while read -r archive path hash; do
    case $archive in
        cuda) from=${REPOSITORY:-} ;;
        neuron) from=${REPOSITORY:-} ;;
        *-security) from=$security ;;
        *) from=$main ;;
    esac
    is_whole "$hash" || [ -z "$from" ] || echo "$from/$path $debs/$hash.deb SHA256:$hash"
done < /media/wanted > /media/here
fetch /media/here
while read -r archive path hash; do
    case $archive in cuda) continue ;; neuron) continue ;; esac
    is_whole "$hash" || [ -z "$SNAPSHOT" ] ||
        echo "$SNAPSHOT/$archive/$stamp/$path $debs/$hash.deb SHA256:$hash"
done < /media/wanted > /media/past
fetch /media/past

set --
while read -r _ path hash; do
    is_whole "$hash" || {
        echo "neither the archive nor ${SNAPSHOT:-a snapshot service (mirrors.yaml names none)}" \
            "gives $path with SHA-256 $hash" >&2
        sed -n '/^[EW]:/p' /media/said >&2
        exit 1
    }
    set -- "$@" "$debs/$hash.deb"
done < /media/wanted
# Without any source: nothing else can come along.
[ $# -eq 0 ] || apt-get install --yes --no-install-recommends --allow-downgrades \
    -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::State::Lists=/media/lists -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= "$@"

while read -r name; do
    case $asked in *" $name "*) ;; *) echo "$name" ;; esac
done < /media/new > /media/auto
[ ! -s /media/auto ] || xargs apt-mark auto < /media/auto > /media/null
while read -r pin _; do
    is_installed "${pin%%=*}" "${pin#*=}" || { echo "$pin is not installed, as locked" >&2; exit 1; }
done < /media/packages
truncate --no-create --size 0 /var/log/apt/* /var/log/dpkg.log /var/log/alternatives.log \
    /var/cache/debconf/*-old /var/cache/ldconfig/aux-cache
