-- The sequence that goes with a table's id (of several the one that the id takes its values from), the greatest value
-- that it gives, and the largest id that the table holds. psql: \set table orders
SELECT CASE WHEN s.oid IS NOT NULL THEN format('%I.%I', n.nspname, s.relname) END AS sequence, q.seqmax AS greatest,
       coalesce(has_sequence_privilege(s.oid, 'SELECT'), false) AS may_be_read,
       (SELECT max(id)::bigint FROM public.:"table") AS largest
FROM pg_class t
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attname = 'id'
LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
     AND d.refobjid = t.oid AND d.refobjsubid = a.attnum AND d.deptype IN ('a', 'i')
     AND d.objid IN (SELECT seqrelid FROM pg_sequence)
LEFT JOIN pg_sequence q ON q.seqrelid = d.objid
LEFT JOIN pg_class s ON s.oid = q.seqrelid
LEFT JOIN pg_namespace n ON n.oid = s.relnamespace
LEFT JOIN pg_attrdef f ON f.adrelid = t.oid AND f.adnum = a.attnum
LEFT JOIN pg_depend u ON u.classid = 'pg_attrdef'::regclass AND u.objid = f.oid AND u.refobjid = s.oid
WHERE t.relnamespace = 'public'::regnamespace AND t.relname = :'table'
ORDER BY u.objid IS NULL, s.relname
LIMIT 1
