#!/bin/sh
# setup.sh [servers|bench]
#
# Installs what this machine lacks: build tools as Debian packages; with
# `servers` also Postgres, Redis, poolers and proxies (their binaries: tests and bench start servers of their own), with
# `bench` those and the load generator wrk.
# No service is started, now or at the next boot. Silent and quick when nothing is missing.
set -eu

missing=
need() { # command package
    command -v "$1" >/dev/null || missing="$missing $2"
}
need cc gcc
need make make
need pkg-config pkg-config
need curl curl
postgres_there() {
    command -v initdb >/dev/null && return
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1
}
servers=
case ${1:-} in
servers) servers=yes ;;
bench)
    servers=yes
    need wrk wrk
    ;;
esac
if [ "$servers" ]; then
    need redis-server redis-server
    need openssl openssl
    # Debian has these where only root looks.
    PATH=$PATH:/usr/sbin
    need nginx nginx
    need haproxy haproxy
    need pgbouncer pgbouncer
fi
if [ "$servers" ] && ! postgres_there; then
    # Debian 12 has 15; elsewhere whatever is current.
    if apt-cache show postgresql-15 >/dev/null 2>&1; then
        missing="$missing postgresql-15"
    else
        missing="$missing postgresql"
    fi
fi

# Debian starts what it installs, unless this file says no (see invoke-rc.d(8)). It is there while apt works,
# whatever becomes of that. One that the machine has already is its owner's word.
policy=${POLICY_RC_D:-/usr/sbin/policy-rc.d}
# shellcheck disable=SC2016  # expanded by the shell that runs it
install='
    set -eu
    policy=$1
    shift
    if (set -C; printf "#!/bin/sh\n# While packages for the tests of Ordain are installed.\nexit 101\n" >"$policy") 2>/dev/null; then
        trap "rm -f \"\$policy\"" EXIT
        trap "exit 1" HUP INT TERM
        chmod 755 "$policy"
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
    for package in "$@"; do
        case $package in
        redis-server | nginx | haproxy | pgbouncer) service=$package ;;
        postgresql*) service=postgresql ;;
        *) continue ;;
        esac
        if command -v update-rc.d >/dev/null; then
            update-rc.d "$service" disable || echo "setup: $service may start at the next boot" >&2
        fi
    done
'

if [ -n "$missing" ]; then
    if ! command -v apt-get >/dev/null; then
        echo "setup: please install:$missing (this machine has no apt-get)" >&2
        exit 1
    elif [ "$(id -u)" = 0 ]; then
        sudo=
    elif command -v sudo >/dev/null; then
        sudo=sudo
    else
        echo "setup: missing packages, and neither root nor sudo to install them. As root:" >&2
        echo "  apt-get update && apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    echo "setup: installing$missing" >&2
    $sudo apt-get update -qq
    # shellcheck disable=SC2086  # a list of words
    $sudo sh -c "$install" setup "$policy" $missing >&2
fi

if ! command -v cargo >/dev/null; then
    echo "setup: no cargo: install Rust's stable toolchain with rustup first" >&2
    exit 1
fi
