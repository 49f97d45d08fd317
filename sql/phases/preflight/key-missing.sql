-- Tables in which nothing says that every row has an id of its own. psql: \set tables {users,orders}
SELECT c.relname::text AS key
FROM pg_class c
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'id' AND NOT a.attisdropped
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname = ANY (:'tables'::text[])
  AND (a.attnum IS NULL OR NOT a.attnotnull OR NOT EXISTS (
      SELECT FROM pg_index x
      WHERE x.indrelid = c.oid AND x.indisunique AND x.indisvalid AND x.indimmediate
        AND x.indpred IS NULL AND x.indnkeyatts = 1 AND x.indkey[0] = a.attnum))
