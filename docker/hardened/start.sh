#!/bin/bash
# Starts PostgreSQL with TLS only. The secrets are root's: the server gets copies that are its own, in
# memory.
set -euo pipefail
own=/dev/shm/secrets
install -d -o postgres -g postgres -m 0700 "$own"
for secret in "$PASSWORD_SECRET" "$SERVICE_SECRET" server.key server.crt; do
    install -o postgres -g postgres -m 0400 "/run/secrets/$secret" "$own/$secret"
done
export POSTGRES_PASSWORD_FILE=$own/$PASSWORD_SECRET SERVICE_PASSWORD_FILE=$own/$SERVICE_SECRET
exec docker-entrypoint.sh postgres -c ssl=on -c ssl_key_file="$own/server.key" \
    -c ssl_cert_file="$own/server.crt" -c hba_file=/hardened/pg_hba.conf \
    -c log_connections=on -c log_disconnections=on -c log_statement=ddl
