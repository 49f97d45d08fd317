-- The columns of a table of the old database that can be written, with the type that a text is cast to: without its
-- length, which only the assignment checks (a cast would cut the text off). psql: \set table orders
SELECT a.attname::text                          AS name,
       format_type(a.atttypid, -1)              AS kind,
       NOT a.attnotnull                         AS nullable,
       a.atttypid = 'timestamp'::regtype        AS without_zone,
       EXISTS (SELECT FROM pg_index i
               WHERE i.indrelid = a.attrelid AND i.indisunique AND NOT i.indisprimary
                 AND a.attnum = ANY (i.indkey)) AS is_unique
FROM pg_attribute a
WHERE a.attrelid = format('public.%I', :'table')::regclass
  AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
ORDER BY a.attnum
