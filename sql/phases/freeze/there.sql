-- Whether a session is still there, and not another one with its number.
-- psql: \set pid 4711 \set began '2026-01-31 23:59:59.5+00'
SELECT EXISTS (
    SELECT FROM pg_stat_activity WHERE pid = :pid AND coalesce(backend_start::text, '') = :'began'
)
