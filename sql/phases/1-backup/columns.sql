-- The columns of one table, each with the type that its values are hashed as: one of PostgreSQL's own by its
-- name, `bpchar` also for a domain on it, whose blanks a cast to text would drop; `text` for all others. No
-- rows: the table has none. psql: \set schema public \set table users
SELECT a.attname::text AS name,
       CASE WHEN b.own = 'bpchar'::regtype THEN 'bpchar'
            -- One byte, which its name would take for the padded type.
            WHEN t.oid = '"char"'::regtype OR t.typnamespace <> 'pg_catalog'::regnamespace THEN 'text'
            ELSE t.typname::text END AS kind
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_type t ON t.oid = a.atttypid
CROSS JOIN LATERAL (
    WITH RECURSIVE base (own, below) AS (
        SELECT t.oid, t.typbasetype
        UNION ALL
        SELECT d.oid, d.typbasetype FROM base JOIN pg_type d ON d.oid = base.below
    )
    SELECT own FROM base WHERE below = 0
) b
WHERE n.nspname = :'schema' AND c.relname = :'table' AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
