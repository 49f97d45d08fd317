-- What makes ids and references of a schema as wide as they have to be, as statements: where public has the
-- table, as wide as there; where it has not, those of `wide` become bigint.
-- psql: \set schema xtask_staging \set wide {orders.id,order_items.order_id}
WITH narrow AS (
    SELECT c.oid, c.relname, a.attname, d.objid::regclass AS sequence
    FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.atttypid = 'integer'::regtype AND NOT a.attisdropped
    LEFT JOIN (pg_depend d JOIN pg_sequence q ON q.seqrelid = d.objid)
           ON d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND d.refobjsubid = a.attnum
          AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
    WHERE c.relnamespace = (:'schema')::regnamespace AND c.relkind = 'r' AND a.attname ~ '^id$|_id$'
), wide AS (
    SELECT n.*
    FROM narrow n
    LEFT JOIN pg_class there ON there.relnamespace = 'public'::regnamespace AND there.relname = n.relname
                            AND there.relkind = 'r'
    LEFT JOIN pg_attribute a ON a.attrelid = there.oid AND a.attname = n.attname AND NOT a.attisdropped
    WHERE a.atttypid = 'bigint'::regtype
       OR there.oid IS NULL AND format('%s.%s', n.relname, n.attname) = ANY (:'wide'::text[])
)
SELECT format('ALTER TABLE %I.%I ALTER COLUMN %I TYPE bigint', :'schema', relname, attname) AS statement
FROM wide
UNION ALL
SELECT format('ALTER SEQUENCE %s AS bigint', sequence)
FROM wide
WHERE sequence IS NOT NULL
