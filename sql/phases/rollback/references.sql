-- Every foreign key to a table of public, as it is declared: `child` refers to `parent`. Tables that nobody migrates
-- can refer to one that comes back. `condition`: whether a row c of the child refers to a row o of the parent.
SELECT k.conrelid::regclass::text                                     AS child,
       CASE WHEN cn.nspname = 'public' THEN child.relname::text END   AS child_name,
       parent.relname::text                                           AS parent,
       (SELECT string_agg(format('c.%I = o.%I', ca.attname, pa.attname), ' AND ' ORDER BY u.place)
        FROM unnest(k.conkey, k.confkey) WITH ORDINALITY u (child, parent, place)
        JOIN pg_attribute ca ON ca.attrelid = k.conrelid AND ca.attnum = u.child
        JOIN pg_attribute pa ON pa.attrelid = k.confrelid AND pa.attnum = u.parent) AS condition
FROM pg_constraint k
JOIN pg_class parent ON parent.oid = k.confrelid
JOIN pg_namespace pn ON pn.oid = parent.relnamespace AND pn.nspname = 'public'
JOIN pg_class child ON child.oid = k.conrelid
JOIN pg_namespace cn ON cn.oid = child.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0
ORDER BY 1, 3, 4
