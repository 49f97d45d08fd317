-- Unique indexes that a DBA has added to tables of sql/schema, which has none but on ids: the columns that each looks
-- at (of keys, expressions and conditions), and of these the one by which a row is kept out of it for a while: by
-- NULL, which is equal to nothing, or else by a text of its own. Not those that have no such column.
-- psql: \set tables {products,orders} \set schema xtask_staging
SELECT c.relname::text AS "table", looked.columns, aside."column", aside.by_null
FROM pg_index x
JOIN pg_class c ON c.oid = x.indrelid
CROSS JOIN LATERAL (
    SELECT array_agg(a.attname::text) AS columns
    FROM pg_attribute a
    WHERE a.attrelid = c.oid AND a.attnum > 0
      AND (a.attnum = ANY (x.indkey) OR EXISTS (
          SELECT FROM pg_depend d
          WHERE d.classid = 'pg_class'::regclass AND d.objid = x.indexrelid
            AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND d.refobjsubid = a.attnum))
) looked
CROSS JOIN LATERAL (
    SELECT a.attname::text AS "column", one.by_null
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    -- Of columns that are not ours nobody knows what stood there.
    JOIN pg_attribute ours ON ours.attname = a.attname AND ours.attnum > 0
         AND ours.attrelid = to_regclass(format('%I.%I', :'schema', c.relname))
    CROSS JOIN LATERAL (
        SELECT NOT a.attnotnull AND NOT coalesce((to_jsonb(x) ->> 'indnullsnotdistinct')::boolean, false) AS by_null,
               a.attnum = ANY ((x.indkey::int2[])[0:x.indnkeyatts - 1]) AS of_key
    ) one
    WHERE a.attrelid = c.oid AND a.attname = ANY (looked.columns) AND a.attname <> 'id' AND a.attgenerated = ''
      AND (one.by_null OR t.typcategory = 'S')
    ORDER BY one.of_key DESC, one.by_null DESC, a.attnum
    LIMIT 1
) aside
WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (:'tables'::text[])
  AND x.indisunique
ORDER BY 1, x.indexrelid::regclass::text
