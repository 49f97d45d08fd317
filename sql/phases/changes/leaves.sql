-- A table's leaves: itself and, where `children` says so, what inherits from it, as far as it holds rows.
-- `obstacle`: why its row versions tell nothing. `definition`: what decides how its bytes are read, and where
-- it belongs; a column dropped and added again has another number. `is_root`: the table itself; where it is
-- partitioned, its key is one over all its parts.
-- psql: \set schema public \set table orders \set children true
WITH RECURSIVE leaf AS (
    SELECT to_regclass(format('%I.%I', :'schema', :'table'))::oid AS oid
    UNION
    SELECT i.inhrelid FROM pg_inherits i JOIN leaf ON i.inhparent = leaf.oid WHERE :'children'::boolean
)
SELECT c.oid,
       format('%I.%I', n.nspname, c.relname) AS name,
       CASE
           WHEN c.relkind NOT IN ('r', 'p') THEN 'is no ordinary table'
           WHEN c.relpersistence = 't' THEN 'is temporary'
           WHEN c.relkind = 'r' AND am.amname IS DISTINCT FROM 'heap' THEN 'is no heap'
           WHEN row_security_active(c.oid) THEN 'has row security'
           WHEN (SELECT bool_or(a.attgenerated NOT IN ('', 's')) FROM pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
               THEN 'has columns that are made when they are read'
       END AS obstacle,
       -- Those that may be read by what stands elsewhere (types.sql): most tables have none.
       ARRAY(SELECT DISTINCT a.atttypid FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
               AND a.atttypid <> ALL (ARRAY['bool', 'bytea', 'date', 'float4', 'float8', 'inet', 'int2', 'int4', 'int8',
                   'interval', 'json', 'jsonb', 'numeric', 'text', 'time', 'timestamp', 'timestamptz', 'uuid',
                   'varchar', 'bpchar']::regtype[])) AS types,
       c.relkind = 'r' AS holds_rows,
       c.oid = to_regclass(format('%I.%I', :'schema', :'table'))::oid AS is_root,
       (SELECT count(*) > 0 FROM pg_index x
        JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[0]
        WHERE x.indrelid = c.oid AND x.indisunique AND x.indisvalid AND x.indnkeyatts = 1
          AND x.indpred IS NULL AND a.attname = 'id' AND a.attnotnull
          AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)) AS has_key,
       md5(concat_ws('/',
           (SELECT string_agg(concat_ws(' ', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attcollation,
                                        a.attisdropped, a.attgenerated), ',' ORDER BY a.attnum)
            FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0),
           (SELECT string_agg(i.inhparent::text, ',' ORDER BY i.inhparent) FROM pg_inherits i WHERE i.inhrelid = c.oid),
           (SELECT string_agg(concat_ws(' ', e.enumtypid, e.oid, e.enumlabel), ',' ORDER BY e.oid) FROM pg_enum e)))
           AS definition
FROM leaf
JOIN pg_class c ON c.oid = leaf.oid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_am am ON am.oid = c.relam
ORDER BY c.oid
