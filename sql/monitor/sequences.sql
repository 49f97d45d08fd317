-- How much of each sequence's numbers is left, as a share of 1: of those that it and the column that it is for can hold (a
-- serial column is integer). Those that begin again at their end are left out.
-- `seen`: whether this role may see where it stands. `remaining`: NULL where it may not.
WITH columns AS (
    SELECT d.objid AS sequence,
           min(format('%s.%s', n.nspname, t.relname)) AS "table",
           min(CASE a.atttypid WHEN 'smallint'::regtype THEN 32767
                               WHEN 'integer'::regtype THEN 2147483647
                               ELSE 9223372036854775807 END) AS largest
    FROM pg_depend d
    JOIN pg_class t ON t.oid = d.refobjid
    JOIN pg_namespace n ON n.oid = t.relnamespace
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
    GROUP BY d.objid
),
sequences AS (
    SELECT format('%s.%s', s.schemaname, s.sequencename) AS name, c."table", s.increment_by > 0 AS rises, s.min_value,
           least(s.max_value, c.largest) AS top, s.last_value,
           has_sequence_privilege(k.oid, 'SELECT,USAGE') AS seen
    FROM pg_sequences s
    JOIN pg_namespace n ON n.nspname = s.schemaname
    JOIN pg_class k ON k.relnamespace = n.oid AND k.relname = s.sequencename AND k.relkind = 'S'
    LEFT JOIN columns c ON c.sequence = k.oid
    WHERE NOT s.cycle
)
SELECT name,
       coalesce("table", name) AS "table",
       seen,
       CASE
           WHEN NOT seen THEN NULL
           WHEN last_value IS NULL THEN 1
           WHEN rises THEN greatest(top::float8 - last_value, 0) / greatest(top::float8 - min_value, 1)
           ELSE greatest(last_value::float8 - min_value, 0) / greatest(top::float8 - min_value, 1)
       END::float8 AS remaining
FROM sequences
ORDER BY remaining NULLS LAST, name
