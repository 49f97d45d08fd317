#!/usr/bin/env bash
# The practical limit: every table's SELECT straight into a bare table of its target, all eight at once,
# then keys, indexes and foreign keys, in parallel. Leaves no files, proves nothing.
#
#     pipes.sh prepare     once, into empty databases: takes the schemas apart; not measured
#     pipes.sh move        into empty databases
#
# Takes PGPASSWORD, SOURCE_PORT, PRODUCT_PORT, ORDER_PORT, GATEWAY_PORT (all on 127.0.0.1), WORK (where
# bench wrote select/, schema/ and tables) and JOBS.
set -euo pipefail
export PGHOST=127.0.0.1 PGCONNECT_TIMEOUT=15

connection() {  # connection DATABASE: the arguments that lead there
    local port
    case $1 in
        product) port=$PRODUCT_PORT ;;
        order)   port=$ORDER_PORT ;;
        gateway) port=$GATEWAY_PORT ;;
    esac
    echo "-p $port -U $1_user -d $1_database"
}

pipe() {  # pipe DATABASE TABLE COLUMNS
    PGOPTIONS='-c work_mem=256MB -c timezone=UTC' \
        psql -X -q -v ON_ERROR_STOP=1 -p "$SOURCE_PORT" -U postgres -d ecommerce_db -c "COPY (
            $(cat "$WORK/select/$2.sql")
        ) TO STDOUT" |
        psql -X -q -v ON_ERROR_STOP=1 $(connection "$1") -c "COPY $2 ($3) FROM STDIN"
}

database() {  # database NAME: bare tables, all their rows at once, then what stands on the rows
    local name=$1 pids=() pid
    export PGOPTIONS='-c maintenance_work_mem=256MB'
    pg_restore --section=pre-data --no-owner --exit-on-error $(connection "$name") "$WORK/$name.dump"
    while IFS=$'\t' read -r of table columns; do
        [ "$of" = "$name" ] || continue
        pipe "$of" "$table" "$columns" & pids+=($!)
    done < "$WORK/tables"
    for pid in "${pids[@]}"; do wait "$pid"; done
    pg_restore --section=post-data --no-owner --exit-on-error --jobs="$JOBS" $(connection "$name") "$WORK/$name.dump"
}

case $1 in
prepare)
    for name in product order gateway; do
        psql -X -q -v ON_ERROR_STOP=1 $(connection "$name") -f "$WORK/schema/$name.sql"
        pg_dump --format=custom --schema-only --file="$WORK/$name.dump" $(connection "$name")
    done
    ;;
move)
    database product & product=$!
    database order & order=$!
    database gateway & gateway=$!
    wait "$product"; wait "$order"; wait "$gateway"
    ;;
*)
    echo "pipes.sh: there is no step $1" >&2
    exit 2
    ;;
esac
