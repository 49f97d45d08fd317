-- Columns of type integer that hold ids: whose, and what makes them wide. psql: \set tables {orders,payments}
SELECT c.relname::text AS "table", a.attname::text AS "column",
       coalesce(parent.relname, CASE a.attname WHEN 'id' THEN c.relname END)::text AS ids_of,
       format('ALTER TABLE %I ALTER COLUMN %I TYPE bigint;', c.relname, a.attname)
           || coalesce(format(' ALTER SEQUENCE %s AS bigint;', pg_get_serial_sequence(format('%I.%I', 'public', c.relname), a.attname)), '')
           AS statement
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.atttypid = 'integer'::regtype AND NOT a.attisdropped
                   AND a.attname ~ '^id$|_id$'
LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'f' AND k.conkey = ARRAY[a.attnum]
LEFT JOIN pg_class parent ON parent.oid = k.confrelid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname = ANY (:'tables'::text[])
ORDER BY 1, a.attnum
