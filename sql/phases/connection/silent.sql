-- What a session does whose statement has had no answer for a while; no row: it is not there any more.
-- `waits`: for its client, which waits for it: what was sent has not arrived.
-- psql: \set pid 4711 \set began '2026-01-31 23:59:59.5+00'
SELECT coalesce(state, '')                                                        AS state,
       coalesce(state LIKE 'idle%' OR wait_event IN ('ClientRead', 'ClientWrite'), false) AS waits
FROM pg_stat_activity
WHERE pid = :pid AND backend_start = :'began'::timestamptz
