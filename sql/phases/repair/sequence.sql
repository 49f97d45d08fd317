-- The sequence that goes with a table's id (of several the one that the id takes its values from), the one that it has
-- to have if that is there, and the largest id. psql: \set table orders, \set sequence orders_id_seq
SELECT (SELECT format('%I.%I', n.nspname, c.relname)
        FROM pg_class t
        JOIN pg_attribute a ON a.attrelid = t.oid AND a.attname = 'id'
        JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
             AND d.refobjid = t.oid AND d.refobjsubid = a.attnum AND d.deptype IN ('a', 'i')
        JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
        JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_attrdef f ON f.adrelid = t.oid AND f.adnum = a.attnum
        LEFT JOIN pg_depend u ON u.classid = 'pg_attrdef'::regclass AND u.objid = f.oid AND u.refobjid = c.oid
        WHERE t.relnamespace = 'public'::regnamespace AND t.relname = :'table'
        ORDER BY u.objid IS NULL, c.relname
        LIMIT 1) AS owned,
       CASE WHEN to_regclass(s.name) IS NOT NULL THEN s.name END AS named,
       (SELECT max(id)::bigint FROM public.:"table") AS largest
FROM (SELECT format('%I.%I', 'public', :'sequence') AS name) s
