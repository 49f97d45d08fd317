# The shop's services, as small as can be: each is one session, which a start opens and a stop ends.
#
#   services.sh start|stop NAME
#
# `place` beside it says where they work: the source or a target. What was done is in `log`, with whether the source
# and the order database were held back then. A file `fail-stop-NAME` makes that fail, `hang-…` makes it wait
# as long as it is there, `lie-…` lets it do nothing.
set -eu
here=$(dirname "$0")
. "$here/servers"
asked() { "$psql" -X -q -A -t "$1" -c "$2"; }
held() { asked "$1" "SELECT count(*) FROM pg_db_role_setting WHERE setconfig::text LIKE '%read_only=on%'"; }
place=$(cat "$here/place")
there="application_name = 'service $2'"
echo "$1 $2 frozen=$(held "$source") held=$(held "$order")" >>"$here/log"
if [ -e "$here/fail-$1-$2" ]; then echo "working on it"; echo "no $1 today" >&2; exit 7; fi
if [ -e "$here/hang-$1-$2" ]; then
    echo "waiting for nothing"
    while [ -e "$here/hang-$1-$2" ]; do sleep 0.05; done
    exit 9
fi
if [ -e "$here/lie-$1-$2" ]; then exit 0; fi
case $1 in
stop)
    for place in "$source" "$order"; do
        asked "$place" "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE $there" >/dev/null
    done ;;
start)
    eval "admin=\$$place service=\$${place}_service"
    [ "$(asked "$admin" "SELECT count(*) FROM pg_stat_activity WHERE $there")" = 0 ] || exit 0
    "$psql" -X "$service application_name='service $2'" -c 'SELECT pg_sleep(600)' >/dev/null 2>&1 &
    until [ "$(asked "$admin" "SELECT count(*) FROM pg_stat_activity WHERE $there")" = 1 ]; do
        kill -0 $! || { echo "it does not come up on the $place"; exit 1; }
        sleep 0.05
    done ;;
esac
