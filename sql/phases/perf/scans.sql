-- Tables that are read from end to end often, and with many rows each time: an index may be missing.
-- psql: \set scans 100 \set rows 10000
SELECT s.relname::text AS "table", s.seq_scan AS scans, s.seq_tup_read AS rows
FROM pg_stat_user_tables s
WHERE s.schemaname = 'public' AND s.seq_scan >= :scans AND s.seq_tup_read >= s.seq_scan * :rows
ORDER BY s.seq_tup_read DESC, 1
