#!/bin/bash
# Runs once, when a database is made, after the schema: POSTGRES_USER owns everything, and the service gets an
# ordinary role with rows and nothing else, by the SQL that `cargo xtask harden` takes (mounted as /harden).
# SERVICE_USER, and SERVICE_PASSWORD or the file SERVICE_PASSWORD_FILE.
set -euo pipefail
if [ -n "${SERVICE_PASSWORD_FILE:-}" ]; then SERVICE_PASSWORD=$(<"$SERVICE_PASSWORD_FILE"); fi
export SERVICE_USER="${SERVICE_USER:?}" SERVICE_PASSWORD="${SERVICE_PASSWORD:?}"
# psql takes the password from its surroundings: it is in no argument, and in no log.
PGOPTIONS="-c log_statement=none" psql --no-psqlrc --quiet --single-transaction --set ON_ERROR_STOP=1 \
    --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --file - <<'SQL'
\set role `printf %s "$SERVICE_USER"`
\set service `printf %s "$SERVICE_USER"`
\set admin `printf %s "$POSTGRES_USER"`
\set readonly `printf %s_readonly "$POSTGRES_DB"`
\set password `printf %s "$SERVICE_PASSWORD"`
\set attributes NOSUPERUSER
\i /harden/login_role.sql
\i /harden/grants.sql
SQL
