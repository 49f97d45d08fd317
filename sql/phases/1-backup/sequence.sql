-- Where the next id of a table comes from: the sequences that the column owns, or that its default names,
-- and the largest id that was given out. psql: \set table users
-- A row for each sequence, one without a name where there is none; the largest id or NULL.
WITH id AS (
    SELECT c.oid AS "table", a.attnum, pg_get_expr(d.adbin, d.adrelid) AS standard, d.oid AS standard_oid
    FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'id' AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relnamespace = 'public'::regnamespace AND c.relname = :'table'
), named AS (
    SELECT p.objid AS sequence
    FROM id
    JOIN pg_depend p ON p.refclassid = 'pg_class'::regclass AND p.refobjid = id."table" AND p.refobjsubid = id.attnum
                    AND p.classid = 'pg_class'::regclass AND p.deptype IN ('a', 'i')
    UNION
    SELECT p.refobjid
    FROM id
    JOIN pg_depend p ON p.classid = 'pg_attrdef'::regclass AND p.objid = id.standard_oid
                    AND p.refclassid = 'pg_class'::regclass
    UNION
    -- A default that looks its sequence up by name, each time.
    SELECT to_regclass(substring(id.standard FROM 'nextval\(\(?''(.+)''::text'))
    FROM id
)
SELECT s.oid::regclass::text AS sequence, (SELECT max(id)::bigint FROM ONLY public.:"table") AS largest
FROM (SELECT) one
LEFT JOIN (named JOIN pg_class s ON s.oid = named.sequence AND s.relkind = 'S') ON true
