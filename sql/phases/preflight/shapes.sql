-- The columns of all tables and views of a schema. element: the most bytes that an element of an array may
-- have, where an inverted index takes each as an entry of its own: somewhat less than a third of a page.
-- psql: \set schema xtask_expected
SELECT c.relname::text AS "table", a.attname::text AS "column", format_type(a.atttypid, a.atttypmod) AS type,
       t.typname::text AS name,
       CASE WHEN t.typcategory = 'A' AND EXISTS (
                SELECT FROM pg_index x
                JOIN pg_class i ON i.oid = x.indexrelid
                JOIN pg_am m ON m.oid = i.relam AND m.amname = 'gin'
                WHERE x.indrelid = c.oid AND a.attnum = ANY (x.indkey))
            THEN current_setting('block_size')::int / 3 - 130 END AS element,
       a.attnotnull AS required
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
WHERE c.relnamespace = (:'schema')::regnamespace AND c.relkind IN ('r', 'v')
ORDER BY 1, a.attnum
