-- The statements that cost most in this database, with constants taken out by the extension. psql: \set schema public
-- Queries alone: other statements keep their constants, and a password may be among them.
SELECT s.query,
       sum(s.calls)::bigint                                  AS calls,
       sum(s.total_exec_time) / greatest(sum(s.calls), 1)    AS mean_ms,
       sum(s.total_exec_time)                                AS total_ms,
       sum(s.rows)::bigint                                   AS rows,
       sum(s.shared_blks_hit + s.shared_blks_read)::bigint   AS buffers
FROM :"schema".pg_stat_statements s
WHERE s.dbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
  AND s.query ~* '^\s*(/\*.*?\*/\s*)*(SELECT|INSERT|UPDATE|DELETE|MERGE|WITH|VALUES)\y'
GROUP BY s.query
ORDER BY total_ms DESC, s.query
LIMIT :number
