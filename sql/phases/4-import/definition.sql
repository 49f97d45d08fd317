-- What the tables of the schema in search_path look like: one row a column, constraint, index, sequence,
-- trigger, rule and policy, and what a table is besides. Two schemas are alike when these rows are; what a DBA
-- may decide (privileges, storage parameters, replica identity …) is not among them: hanging.sql has it.
-- type, is_required, standard, special: the parts of a column's definition.
-- rebuild tells how a row is taken away for the load and recreated after it; beneath is the index of
-- a key, or the index itself, which can be built while others read; is_primary: the table's own key;
-- is_inverted: an index of the kind that takes the longest to build.
WITH t AS (
    SELECT c.oid, c.relname::text AS name, c.relrowsecurity, c.relforcerowsecurity, c.relpersistence
    FROM pg_class c
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
)
SELECT t.name AS "table", 'column' AS kind, a.name,
       a.type || CASE WHEN a.is_required THEN ' NOT NULL' ELSE '' END || a.special
           || coalesce(' DEFAULT ' || a.standard, '') AS definition,
       NULL AS rebuild, NULL AS beneath, false AS is_primary, false AS is_inverted,
       a.type, a.is_required, a.standard, a.special, a.position
FROM t
JOIN (
    SELECT a.attrelid, a.attname::text AS name, a.attnum::int AS position, a.attnotnull AS is_required,
           format_type(a.atttypid, a.atttypmod)
               || CASE WHEN a.attcollation <> y.typcollation
                       THEN (SELECT format(' COLLATE %I.%I', n.nspname, c.collname)
                             FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
                             WHERE c.oid = a.attcollation)
                       ELSE '' END AS type,
           CASE WHEN a.attidentity <> '' THEN ' IDENTITY ' || a.attidentity::text ELSE '' END
               || CASE WHEN a.attgenerated <> '' THEN ' GENERATED' ELSE '' END AS special,
           pg_get_expr(d.adbin, d.adrelid) AS standard
    FROM pg_attribute a
    JOIN pg_type y ON y.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attnum > 0 AND NOT a.attisdropped
) a ON a.attrelid = t.oid
UNION ALL
SELECT t.name, 'constraint', k.conname::text,
       pg_get_constraintdef(k.oid) || CASE WHEN k.convalidated THEN '' ELSE ' (not valid)' END
           -- Triggers hold a reference, on both of its tables.
           || CASE WHEN EXISTS (SELECT FROM pg_trigger g WHERE g.tgconstraint = k.oid AND g.tgenabled IN ('D', 'R'))
                   THEN ' (not enforced)' ELSE '' END,
       CASE k.contype WHEN 'p' THEN 'key' WHEN 'u' THEN 'key' WHEN 'x' THEN 'key'
                      WHEN 'f' THEN 'reference' END,
       CASE WHEN k.contype IN ('p', 'u')
            THEN replace(pg_get_indexdef(k.conindid), ' ON ' || quote_ident(current_schema()) || '.', ' ON ') END,
       k.contype = 'p', false, NULL, NULL, NULL, NULL, NULL
FROM t
JOIN pg_constraint k ON k.conrelid = t.oid AND k.contype IN ('p', 'u', 'x', 'f', 'c')
UNION ALL
SELECT t.name, 'index', i.relname::text,
       CASE WHEN i.reloptions IS NULL THEN d.whole ELSE regexp_replace(d.whole, ' WITH \([^()]*\)', '') END
           || CASE WHEN x.indisvalid AND x.indisready THEN '' ELSE ' (not valid)' END,
       'index', d.whole, false, m.amname = 'gin', NULL, NULL, NULL, NULL, NULL
FROM t
JOIN pg_index x ON x.indrelid = t.oid
JOIN pg_class i ON i.oid = x.indexrelid
JOIN pg_am m ON m.oid = i.relam
CROSS JOIN LATERAL (SELECT replace(pg_get_indexdef(i.oid), ' ON ' || quote_ident(current_schema()) || '.', ' ON ') AS whole) d
WHERE NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.oid AND k.contype IN ('p', 'u', 'x'))
UNION ALL
-- Named by the column that it goes with; others beside the one that the column takes its values from have their own
-- names, too.
SELECT t.name, 'sequence',
       a.attname || CASE row_number() OVER (PARTITION BY t.oid, a.attnum ORDER BY v.gives_values DESC, c.relname)
                         WHEN 1 THEN '' ELSE format(' (%s)', c.relname) END,
       format('AS %s INCREMENT BY %s MINVALUE %s MAXVALUE %s START WITH %s CACHE %s%s', format_type(q.seqtypid, NULL),
              q.seqincrement, q.seqmin, q.seqmax, q.seqstart, q.seqcache,
              CASE WHEN q.seqcycle THEN ' CYCLE' ELSE ' NO CYCLE' END),
       NULL, NULL, false, false, NULL, NULL, NULL, NULL, NULL
FROM t
JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid AND d.classid = 'pg_class'::regclass
     AND d.deptype IN ('a', 'i')
JOIN pg_sequence q ON q.seqrelid = d.objid
JOIN pg_class c ON c.oid = d.objid
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM pg_attrdef f
                                   JOIN pg_depend u ON u.classid = 'pg_attrdef'::regclass AND u.objid = f.oid
                                   WHERE f.adrelid = t.oid AND f.adnum = a.attnum AND u.refobjid = q.seqrelid) AS gives_values) v
UNION ALL
SELECT t.name, 'trigger', g.tgname::text, pg_get_triggerdef(g.oid), NULL, NULL, false, false, NULL, NULL, NULL, NULL, NULL
FROM t
JOIN pg_trigger g ON g.tgrelid = t.oid AND NOT g.tgisinternal
UNION ALL
SELECT t.name, 'rule', r.rulename::text, pg_get_ruledef(r.oid), NULL, NULL, false, false, NULL, NULL, NULL, NULL, NULL
FROM t
JOIN pg_rewrite r ON r.ev_class = t.oid
UNION ALL
SELECT t.name, 'policy', p.polname::text, p.polcmd::text, NULL, NULL, false, false, NULL, NULL, NULL, NULL, NULL
FROM t
JOIN pg_policy p ON p.polrelid = t.oid
UNION ALL
SELECT t.name, 'row security', 'enabled', '', NULL, NULL, false, false, NULL, NULL, NULL, NULL, NULL
FROM t
WHERE t.relrowsecurity
UNION ALL
SELECT t.name, 'row security', 'forced', '', NULL, NULL, false, false, NULL, NULL, NULL, NULL, NULL
FROM t
WHERE t.relforcerowsecurity
UNION ALL
SELECT t.name, 'inheritance', i.inhparent::regclass::text, 'its rows appear there, too', NULL, NULL, false, false, NULL, NULL, NULL, NULL, NULL
FROM t
JOIN pg_inherits i ON i.inhrelid = t.oid
UNION ALL
SELECT t.name, 'inheritance', i.inhrelid::regclass::text, 'a child, whose rows appear here', NULL, NULL, false, false, NULL, NULL, NULL, NULL, NULL
FROM t
JOIN pg_inherits i ON i.inhparent = t.oid
UNION ALL
-- After a crash it is empty.
SELECT t.name, 'persistence', 'unlogged', '', NULL, NULL, false, false, NULL, NULL, NULL, NULL, NULL
FROM t
WHERE t.relpersistence = 'u'
ORDER BY 1, 2, position, 3
