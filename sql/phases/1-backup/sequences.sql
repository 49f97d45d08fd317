-- Every sequence of the source, where it stands, and the table whose column it is for.
-- `last` is NULL where it has never given out a number.
SELECT format('%s.%s', s.schemaname, s.sequencename) AS name,
       s.last_value                                  AS last,
       (SELECT min(format('%s.%s', n.nspname, t.relname))
        FROM (SELECT d.refobjid AS "table"
              FROM pg_depend d
              WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
                AND d.objid = c.oid AND d.deptype IN ('a', 'i')
              UNION
              -- Whose default takes its numbers, although it is nobody's.
              SELECT standard.adrelid
              FROM pg_depend d
              JOIN pg_attrdef standard ON standard.oid = d.objid
              WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass
                AND d.refobjid = c.oid) uses
        JOIN pg_class t ON t.oid = uses."table"
        JOIN pg_namespace n ON n.oid = t.relnamespace) AS owner
FROM pg_sequences s
JOIN pg_namespace sn ON sn.nspname = s.schemaname
JOIN pg_class c ON c.relnamespace = sn.oid AND c.relname = s.sequencename AND c.relkind = 'S'
ORDER BY 1
