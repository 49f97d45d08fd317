-- What tables are and what hangs on them, from the catalogue: of each object every column of its row there, with
-- names for OIDs. Two tables are alike when these rows are. Everything that depends on a table is an object here,
-- so that a kind that nobody thought of appears by itself.
-- What may differ between a table and the one that takes its place is left out by name, catalogue by catalogue.
-- said: what a DBA may decide, in his words; NULL for what a table is (definition.sql).
-- The tables' schema is the search_path: names in it are written without it. psql: \set tables {orders,payments}
WITH RECURSIVE t AS (
    SELECT c.oid, c.relname::text AS name
    FROM pg_class c
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
      AND c.relname = ANY (:'tables'::text[])
), dependent (classid, objid) AS (
    SELECT 'pg_class'::regclass::oid, oid FROM t
    UNION
    SELECT d.classid, d.objid FROM dependent h JOIN pg_depend d ON d.refclassid = h.classid AND d.refobjid = h.objid
), object AS (
    -- The names of triggers that hold references, and of tables for large values, are numbers.
    SELECT h.classid, h.objid,
           CASE WHEN g.tgisinternal
                THEN format('trigger %s on table %s of %s', g.tgfoid::regproc, g.tgrelid::regclass,
                            pg_describe_object('pg_constraint'::regclass, g.tgconstraint, 0))
                ELSE pg_describe_object(h.classid, h.objid, 0) END AS name
    FROM dependent h
    LEFT JOIN pg_trigger g ON h.classid = 'pg_trigger'::regclass AND g.oid = h.objid
    WHERE NOT EXISTS (SELECT FROM pg_class c
                      WHERE h.classid = 'pg_class'::regclass AND c.oid = h.objid
                        AND c.relnamespace = 'pg_toast'::regnamespace)
), relation AS (
    SELECT o.name, c.* FROM object o JOIN pg_class c ON o.classid = 'pg_class'::regclass AND c.oid = o.objid
), granted AS (
    -- The owner by no name: who it is stands beside.
    SELECT r.oid, 0::smallint AS attnum, r.relowner AS owner, g.*
    FROM relation r
    CROSS JOIN LATERAL aclexplode(coalesce(r.relacl, acldefault(CASE r.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", r.relowner))) g
    WHERE r.relkind <> 'i'
    UNION ALL
    SELECT r.oid, a.attnum, r.relowner, g.*
    FROM relation r
    JOIN pg_attribute a ON a.attrelid = r.oid AND NOT a.attisdropped
    CROSS JOIN LATERAL aclexplode(a.attacl) g
), privilege AS (
    SELECT oid, attnum, string_agg(line, '; ' ORDER BY line COLLATE "C") AS privileges
    FROM (SELECT oid, attnum,
                 format('%s: %s%s', CASE grantee WHEN 0 THEN 'PUBLIC' WHEN owner THEN 'its owner' ELSE pg_get_userbyid(grantee)::text END,
                        string_agg(privilege_type || CASE WHEN is_grantable THEN ' and to grant it' ELSE '' END, ', ' ORDER BY privilege_type),
                        CASE WHEN grantor <> owner THEN ' by ' || pg_get_userbyid(grantor) ELSE '' END) AS line
          FROM granted
          GROUP BY oid, attnum, owner, grantee, grantor) g
    GROUP BY oid, attnum
), catalogue (name, entry) AS (
    SELECT r.name,
           to_jsonb(c) - '{oid, relname, relnamespace, reltype, reloftype, relfilenode, reltoastrelid, relpages,
                           reltuples, relallvisible, relallfrozen, relfrozenxid, relminmxid, relnatts, relhasindex,
                           relhasrules, relhastriggers, relhassubclass, relrewrite}'::text[]
           || jsonb_build_object(
               -- Of indexes and sequences it is their table's.
               'relowner', CASE WHEN c.relkind IN ('r', 'p') THEN pg_get_userbyid(c.relowner) END,
               'relam', (SELECT amname FROM pg_am WHERE oid = c.relam),
               'reltablespace', (SELECT spcname FROM pg_tablespace WHERE oid = c.reltablespace),
               'reloftype', nullif(c.reloftype, 0)::regtype,
               'relacl', (SELECT p.privileges FROM privilege p WHERE p.oid = c.oid AND p.attnum = 0),
               'toast', (SELECT array_to_string(x.reloptions, ', ') FROM pg_class x WHERE x.oid = c.reltoastrelid))
    FROM relation r
    JOIN pg_class c ON c.oid = r.oid
    UNION ALL
    SELECT pg_describe_object('pg_class'::regclass, t.oid, a.attnum),
           to_jsonb(a) - '{attrelid, attname, atttypid, attlen, attnum, attcacheoff, atttypmod, attndims, attbyval,
                           attalign, atthasmissing, attmissingval, attcollation, attisdropped}'::text[]
           || jsonb_build_object(
               'type', format_type(a.atttypid, a.atttypmod), 'collation', nullif(a.attcollation, 0)::regcollation,
               -- Those that were dropped have kept their numbers.
               'position', row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum),
               'attacl', (SELECT p.privileges FROM privilege p WHERE p.oid = t.oid AND p.attnum = a.attnum))
    FROM t
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT o.name, jsonb_build_object('default', pg_get_expr(d.adbin, d.adrelid))
    FROM object o JOIN pg_attrdef d ON o.classid = 'pg_attrdef'::regclass AND d.oid = o.objid
    UNION ALL
    SELECT o.name,
           to_jsonb(k) - '{oid, connamespace, conrelid, contypid, conindid, conparentid, confrelid, conkey, confkey,
                           conpfeqop, conppeqop, conffeqop, confdelsetcols, conexclop, conbin}'::text[]
           || jsonb_build_object('definition', pg_get_constraintdef(k.oid))
    FROM object o JOIN pg_constraint k ON o.classid = 'pg_constraint'::regclass AND k.oid = o.objid
    UNION ALL
    SELECT r.name,
           to_jsonb(x) - '{indexrelid, indrelid, indkey, indcollation, indclass, indoption, indexprs, indpred,
                           indcheckxmin}'::text[]
           || jsonb_build_object('definition', replace(pg_get_indexdef(r.oid), ' ON ' || quote_ident(current_schema()) || '.', ' ON '),
                                 'statistics', (SELECT string_agg(a.attnum || ': ' || a.attstattarget, ', ' ORDER BY a.attnum)
                                                FROM pg_attribute a WHERE a.attrelid = r.oid AND a.attstattarget >= 0))
    FROM relation r
    JOIN pg_index x ON x.indexrelid = r.oid
    UNION ALL
    SELECT r.name, to_jsonb(q) - '{seqrelid, seqtypid}'::text[] || jsonb_build_object('type', q.seqtypid::regtype)
    FROM relation r
    JOIN pg_sequence q ON q.seqrelid = r.oid
    UNION ALL
    SELECT o.name,
           to_jsonb(g) - '{oid, tgrelid, tgparentid, tgname, tgfoid, tgconstrrelid, tgconstrindid, tgconstraint, tgattr,
                           tgargs, tgqual}'::text[]
           || jsonb_build_object('definition', CASE WHEN NOT g.tgisinternal THEN pg_get_triggerdef(g.oid) END)
    FROM object o JOIN pg_trigger g ON o.classid = 'pg_trigger'::regclass AND g.oid = o.objid
    UNION ALL
    SELECT o.name, jsonb_build_object('ev_enabled', w.ev_enabled, 'definition', pg_get_ruledef(w.oid))
    FROM object o JOIN pg_rewrite w ON o.classid = 'pg_rewrite'::regclass AND w.oid = o.objid
    UNION ALL
    SELECT o.name,
           to_jsonb(p) - '{oid, polrelid, polroles, polqual, polwithcheck}'::text[]
           || jsonb_build_object('polroles', (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END, ', ')
                                              FROM unnest(p.polroles) r),
                                 'polqual', pg_get_expr(p.polqual, p.polrelid),
                                 'polwithcheck', pg_get_expr(p.polwithcheck, p.polrelid))
    FROM object o JOIN pg_policy p ON o.classid = 'pg_policy'::regclass AND p.oid = o.objid
    UNION ALL
    SELECT o.name,
           to_jsonb(s) - '{oid, stxrelid, stxname, stxnamespace, stxowner, stxkeys, stxkind, stxexprs}'::text[]
           || jsonb_build_object('owner', pg_get_userbyid(s.stxowner), 'definition', pg_get_statisticsobjdef(s.oid))
    FROM object o JOIN pg_statistic_ext s ON o.classid = 'pg_statistic_ext'::regclass AND s.oid = o.objid
    UNION ALL
    -- Before PostgreSQL 15 there are neither columns nor filters.
    SELECT o.name,
           jsonb_build_object('columns', (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
                                          FROM jsonb_array_elements_text(nullif(to_jsonb(m) -> 'prattrs', 'null')) n (attnum)
                                          JOIN pg_attribute a ON a.attrelid = m.prrelid AND a.attnum = n.attnum::int),
                              'filter', (SELECT to_jsonb(v) ->> 'rowfilter' FROM pg_publication_tables v
                                         WHERE v.pubname = p.pubname
                                           AND (v.schemaname, v.tablename) = (SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                                                                              WHERE c.oid = m.prrelid)))
    FROM object o
    JOIN pg_publication_rel m ON o.classid = 'pg_publication_rel'::regclass AND m.oid = o.objid
    JOIN pg_publication p ON p.oid = m.prpubid
    UNION ALL
    -- Nothing in pg_depend says so.
    SELECT 'table ' || t.name, jsonb_build_object('subscription', string_agg(s.subname, ', ' ORDER BY s.subname))
    FROM t
    JOIN pg_subscription_rel r ON r.srrelid = t.oid
    JOIN pg_subscription s ON s.oid = r.srsubid
    GROUP BY t.name
    UNION ALL
    SELECT 'table ' || t.name, jsonb_build_object('inherits from', string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno))
    FROM t JOIN pg_inherits i ON i.inhrelid = t.oid
    GROUP BY t.name
    UNION ALL
    SELECT 'table ' || t.name, jsonb_build_object('inherited by', string_agg(i.inhrelid::regclass::text, ', ' ORDER BY 1))
    FROM t JOIN pg_inherits i ON i.inhparent = t.oid
    GROUP BY t.name
    UNION ALL
    SELECT pg_describe_object(c.classoid, c.objoid, c.objsubid), jsonb_build_object('comment', c.description)
    FROM object o JOIN pg_description c ON c.classoid = o.classid AND c.objoid = o.objid
    UNION ALL
    SELECT pg_describe_object(l.classoid, l.objoid, l.objsubid),
           jsonb_build_object('security label', string_agg(l.provider || ': ' || l.label, ', ' ORDER BY l.provider))
    FROM object o JOIN pg_seclabel l ON l.classoid = o.classid AND l.objoid = o.objid
    GROUP BY l.classoid, l.objoid, l.objsubid
    UNION ALL
    -- Whatever it is: what it depends on.
    SELECT o.name, jsonb_build_object('depends', string_agg(DISTINCT format('%s (%s)', r.name, d.deptype), ', '))
    FROM object o
    JOIN (SELECT classid, objid, refclassid, refobjid, deptype FROM pg_depend
          UNION ALL
          SELECT classid, objid, refclassid, refobjid, deptype FROM pg_shdepend
          WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())) d
         ON d.classid = o.classid AND d.objid = o.objid
    CROSS JOIN LATERAL (SELECT coalesce((SELECT x.name FROM object x WHERE x.classid = d.refclassid AND x.objid = d.refobjid),
                                        pg_describe_object(d.refclassid, d.refobjid, 0)) AS name) r
    WHERE r.name <> 'schema ' || current_schema()
    GROUP BY o.name
), said (of, said) AS (
    VALUES ('relowner', 'owner'), ('relacl', 'privileges'), ('attacl', 'privileges'), ('reloptions', 'storage parameters'),
           ('toast', 'storage parameters of its large values'), ('reltablespace', 'tablespace'), ('relam', 'access method'),
           ('relreplident', 'replica identity'), ('indisreplident', 'replica identity'), ('indisclustered', 'cluster mark'),
           ('attstattarget', 'statistics target'), ('statistics', 'statistics target'), ('attoptions', 'options'),
           ('attstorage', 'storage'), ('attcompression', 'compression'), ('comment', 'comment'),
           ('security label', 'security label')
)
SELECT c.name AS object, e.key AS of, e.value,
       CASE WHEN c.name LIKE 'publication of table %' THEN 'publication'
            WHEN c.name LIKE 'statistics object %' THEN 'extended statistics'
            ELSE s.said END AS said
FROM catalogue c
CROSS JOIN LATERAL jsonb_each_text(jsonb_strip_nulls(c.entry)) e
LEFT JOIN said s ON s.of = e.key
ORDER BY 1, 2
