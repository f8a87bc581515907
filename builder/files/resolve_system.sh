#!/bin/sh
# Tells which packages this base has once it is upgraded and others are installed, and where their
# files are, by apt: from the archives that its own sources name, or the site's. With a STAMP it is
# what they had by then, of the snapshot service. What they have is taken even where the base has
# something newer. Each line of STEPS is a step and its packages. REPOSITORY is one besides: its name,
# address and suite; /mnt has its key. No snapshot service has it: it is as it is.
set -eu
. /etc/os-release
: > /etc/apt/preferences
: > /tmp/sources.list
# Without lists apt tells of its sources only what it would download.
apt-get update --print-uris > /tmp/uris
sed -n "s/^'\(.*\)\/dists\/\([^/]*\)\/\([^/]*\)\/binary-.*/\2 \3 \1/p" /tmp/uris |
    sort -u > /tmp/targets
while read -r suite component from; do
    archive=$ID
    case $suite in
        "$VERSION_CODENAME" | "$VERSION_CODENAME-updates") ;;
        "$VERSION_CODENAME-security") [ "$ID" = ubuntu ] || archive=$ID-security ;;
        *) continue ;;
    esac
    [ -z "$STAMP" ] || from=$SNAPSHOT/$archive/$STAMP
    echo "archive $archive $from"
    # A day that is past has lists that are out of date.
    echo "deb [check-valid-until=no] $from $suite $component" >> /tmp/sources.list
    printf 'Package: *\nPin: release n=%s\nPin-Priority: 1001\n\n' "$suite" >> /etc/apt/preferences
done < /tmp/targets
[ -s /tmp/sources.list ] || { echo "E: apt's sources name no archive of $VERSION_CODENAME" >&2; exit 1; }
if [ -n "${REPOSITORY:-}" ]; then
    name=${REPOSITORY%% *}
    from=${REPOSITORY#* }
    echo "archive $name ${from%% *}"
    echo "deb [signed-by=/mnt/$name.gpg] $from" >> /tmp/sources.list
fi
apt() {
    apt-get --quiet --yes --no-install-recommends --allow-downgrades \
        -o Dir::Etc::SourceList=/tmp/sources.list -o Dir::Etc::SourceParts=/dev/null \
        -o APT::Sandbox::User=root -o Acquire::Retries=2 "$@"
}
# apt itself goes on with the lists that it could get.
if ! apt update > /tmp/update 2>&1 || grep --quiet '^Err:' /tmp/update; then
    grep '^[EW]:' /tmp/update >&2
    exit 1
fi
printf '%s\n' "$STEPS" | while read -r step packages; do
    # shellcheck disable=SC2086 # they are words
    apt --simulate dist-upgrade $packages > /tmp/simulated 2>&1 || {
        grep '^E:' /tmp/simulated >&2
        exit 1
    }
    # What it would install is asked for by version: that need not be what it prefers.
    sed -n 's/^Inst \([^ :]*\)[^ ]* \(\[[^]]*\] \)\{0,1\}(\([^ ]*\) .*/\1=\3/p' /tmp/simulated > /tmp/new
    sed -n 's/^\(Inst\|Remv\) \([^ :]*\).*/\2/p' /tmp/simulated | sort -u > /tmp/changed
    dpkg-query --show --showformat '${db:Status-Abbrev}${Package}\n' | sed -n 's/^ii *//p' |
        sort -u | comm -23 - /tmp/changed | sort -u - /tmp/new > /tmp/names
    echo "step $step"
    # All at once; one by one where the base has what no archive has.
    # shellcheck disable=SC2046
    if apt download --print-uris $(cat /tmp/names) > /tmp/uris 2> /dev/null; then
        cat /tmp/uris
        continue
    fi
    while read -r name; do
        apt download --print-uris "$name" 2> /dev/null ||
            dpkg-query --show --showformat 'base ${Package} ${Version} ${Architecture}\n' "$name"
    done < /tmp/names
done
