-- Indexes that no query has used since the statistics count, but for those that hold a rule.
SELECT s.relname::text AS "table", s.indexrelname::text AS index, pg_relation_size(s.indexrelid) AS bytes
FROM pg_stat_user_indexes s
JOIN pg_index i ON i.indexrelid = s.indexrelid
WHERE s.schemaname = 'public' AND s.idx_scan = 0
  AND NOT i.indisunique AND NOT i.indisprimary AND NOT i.indisexclusion
ORDER BY 1, 2
