#!/bin/sh
# As the public image of PostgreSQL begins: makes the database where there is none, then becomes the command.
set -eu
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
export PGDATA=${PGDATA:-/var/lib/postgresql/data} PATH
[ -s "$PGDATA/PG_VERSION" ] || initdb -U postgres --auth="${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" -E UTF8 --no-sync >/dev/null
exec "$@"
