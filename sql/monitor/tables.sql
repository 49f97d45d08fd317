-- The tables of this database with the most dead rows, by its statistics. psql: \set number 5
SELECT format('%s.%s', t.schemaname, t.relname) AS "table",
       t.n_live_tup                             AS live,
       t.n_dead_tup                             AS dead
FROM pg_stat_user_tables t
WHERE t.n_dead_tup > 0
ORDER BY t.n_dead_tup DESC, 1
LIMIT :number
