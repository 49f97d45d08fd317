-- Databases whose name begins so and ends with a time: those that were put aside. Asked from another database.
-- psql: \set begins ecommerce_db_before_rollback_
SELECT d.datname::text AS database,
       CASE WHEN has_database_privilege(d.oid, 'CONNECT') THEN pg_size_pretty(pg_database_size(d.oid)) END AS size
FROM pg_database d
WHERE left(d.datname::text, length(:'begins')) = :'begins'
  AND substr(d.datname::text, length(:'begins') + 1) ~ '^[0-9]{8}_[0-9]{6}$'
ORDER BY 1
