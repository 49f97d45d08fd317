-- Whether types are read by what stands elsewhere: an attribute that a row type loses, a table that gets another
-- name. Rows read otherwise then, and nobody has written one. Types, and what arrays, domains and ranges are made
-- of.
-- psql: \set types {1247,2205}
WITH RECURSIVE held (kind) AS (
    SELECT unnest(:'types'::oid[])
    UNION
    SELECT unnest(ARRAY[y.typelem, y.typbasetype, r.rngsubtype])
    FROM held JOIN pg_type y ON y.oid = held.kind
    LEFT JOIN pg_range r ON y.oid IN (r.rngtypid, r.rngmultitypid)
)
SELECT EXISTS (SELECT FROM held JOIN pg_type y ON y.oid = held.kind
               WHERE y.typtype = 'c'
                  OR y.typnamespace = 'pg_catalog'::regnamespace AND y.typname ~ '^(reg|aclitem$)')
