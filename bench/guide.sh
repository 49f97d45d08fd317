#!/usr/bin/env bash
# The migration guide's phases 1 to 4, repaired as little as it takes to move every row:
#
#     guide.sh backup | export | firestore | import
#
# One step after the other, one table after the other, nothing proven. Repaired: passwords (PGPASSWORD),
# absolute paths, the SELECTs (those of sql/tables, with the guide's ORDER BY), batches, the sequences of
# empty tables, and text instead of CSV where psql reads the file again: its COPY ends at a line that is
# just \. (a review in the fixtures has one). Counted once where the guide counts twice.
#
# Takes PGPASSWORD, SOURCE_PORT, PRODUCT_PORT, ORDER_PORT, GATEWAY_PORT (all on 127.0.0.1), WORKSPACE, WORK (where
# bench wrote select/, schema/ and tables), BACKUP_DIR, for firestore also FIRESTORE_EMULATOR_HOST,
# FIRESTORE_PROJECT and NODE_DIR.
set -euo pipefail
export PGHOST=127.0.0.1 PGCONNECT_TIMEOUT=15
mkdir -p "$BACKUP_DIR"

# Sorts and hashes of the SELECTs in memory, as the tool's own sessions have it.
monolith() { PGOPTIONS='-c work_mem=256MB -c timezone=UTC' "$1" -p "$SOURCE_PORT" -U postgres -d ecommerce_db "${@:2}"; }
target() {  # target DATABASE psql's arguments…
    local port
    case $1 in
        product) port=$PRODUCT_PORT ;;
        order)   port=$ORDER_PORT ;;
        gateway) port=$GATEWAY_PORT ;;
    esac
    psql -X -q -v ON_ERROR_STOP=1 -p "$port" -U "$1_user" -d "$1_database" "${@:2}"
}

case $1 in
backup)
    monolith pg_dump --format=custom --file="$BACKUP_DIR/full_backup.dump"
    monolith pg_dump --format=plain --file="$BACKUP_DIR/full_backup.sql"
    pg_restore --list "$BACKUP_DIR/full_backup.dump" > "$BACKUP_DIR/contents.txt"
    for table in users categories products orders order_items payments user_sessions product_reviews \
                 system_logs analytics_events; do
        monolith psql -X -q -A -t -c "SELECT '$table', count(*) FROM $table"
    done > "$BACKUP_DIR/record_counts.txt"
    monolith pg_dump --schema-only --file="$BACKUP_DIR/schema_only.sql"
    # Where there is a Compose; without one the tool copies the file, too.
    cd "$WORKSPACE"
    docker-compose config > "$BACKUP_DIR/docker-compose-before.yml" 2> /dev/null \
        || cp docker-compose.yml "$BACKUP_DIR/docker-compose-before.yml"
    ;;
export)
    while IFS=$'\t' read -r database table _; do
        format=''
        [ "$database" != firestore ] || format='WITH CSV HEADER'
        monolith psql -X -q -v ON_ERROR_STOP=1 -c "COPY (
            $(cat "$WORK/select/$table.sql")
            ORDER BY 1
        ) TO STDOUT $format" > "$BACKUP_DIR/$table.csv"
    done < "$WORK/tables"
    monolith psql -X -q -v ON_ERROR_STOP=1 -c \
        "COPY (SELECT id, firebase_uid FROM users ORDER BY id) TO STDOUT WITH CSV HEADER" \
        > "$BACKUP_DIR/user_id_mapping.csv"
    ;;
firestore)
    node "$NODE_DIR/import.js" "$BACKUP_DIR/users.csv" "$BACKUP_DIR/user_sessions.csv"
    ;;
import)
    for database in product order gateway; do
        target "$database" -f "$WORK/schema/$database.sql"
    done
    while IFS=$'\t' read -r database table columns; do
        [ "$database" != firestore ] || continue
        target "$database" -c "COPY $table ($columns) FROM STDIN" < "$BACKUP_DIR/$table.csv"
        target "$database" -A -t -c "SELECT setval('${table}_id_seq', (SELECT max(id) FROM $table))
                                     WHERE EXISTS (SELECT FROM $table)" > /dev/null
    done < "$WORK/tables"
    ;;
*)
    echo "guide.sh: there is no step $1" >&2
    exit 2
    ;;
esac
