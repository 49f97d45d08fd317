-- The columns of the tables. stand_in: a type that every server knows and that behaves alike. textual:
-- its value holds text. psql: \set tables {users,orders}
SELECT c.relname::text AS "table", a.attname::text AS "column", format_type(a.atttypid, a.atttypmod) AS type,
       CASE WHEN t.typnamespace = 'pg_catalog'::regnamespace
                THEN format_type(a.atttypid, a.atttypmod)
            WHEN t.typtype = 'd' AND b.typnamespace = 'pg_catalog'::regnamespace
                THEN format_type(t.typbasetype, t.typtypmod)
            WHEN t.typcategory = 'A'
                THEN 'text[]'
            ELSE 'text' END AS stand_in,
       coalesce(e.typcategory, t.typcategory) = 'S' OR t.typname IN ('json', 'jsonb', 'xml', 'citext') AS textual
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_type b ON b.oid = t.typbasetype AND t.typtype = 'd'
LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (:'tables'::text[])
ORDER BY 1, a.attnum
