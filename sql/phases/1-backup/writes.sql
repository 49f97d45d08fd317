-- Rows written to each table since its statistics began: approximate, and reported late.
SELECT format('%s.%s', schemaname, relname) AS name,
       n_tup_ins + n_tup_upd + n_tup_del    AS rows
FROM pg_stat_user_tables
