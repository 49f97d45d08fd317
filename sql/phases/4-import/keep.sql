-- Grants, comments and owners of tables in public, as the statements that give them to the tables
-- that take their place. psql: \set tables {orders,payments}
WITH root AS (
    SELECT oid FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname = ANY (:'tables'::text[])
), t AS (
    SELECT c.oid, c.relname, c.relkind, c.relacl, c.relowner,
           CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'i' THEN 'INDEX' ELSE 'TABLE' END AS noun
    FROM pg_class c
    WHERE c.oid IN (SELECT oid FROM root)
       OR c.oid IN (SELECT x.indexrelid FROM pg_index x JOIN root ON root.oid = x.indrelid)
       OR c.oid IN (SELECT d.objid FROM pg_depend d JOIN root ON root.oid = d.refobjid
                    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
                      AND d.deptype IN ('a', 'i'))
), statements AS (
    SELECT 1 AS step, format('GRANT %s ON %s public.%I TO %s%s', g.privilege_type, t.noun, t.relname,
                        CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END,
                        CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) AS statement
    FROM t, aclexplode(t.relacl) g
    WHERE t.relkind <> 'i' AND g.grantee <> t.relowner
    UNION ALL
    SELECT 1, format('GRANT %s (%I) ON public.%I TO %s%s', g.privilege_type, a.attname, t.relname,
                     CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END,
                     CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM t
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attacl IS NOT NULL AND NOT a.attisdropped,
         aclexplode(a.attacl) g
    WHERE t.relkind = 'r' AND g.grantee <> t.relowner
    UNION ALL
    SELECT 1, format('COMMENT ON %s public.%I IS %L', t.noun, t.relname, obj_description(t.oid, 'pg_class'))
    FROM t
    WHERE obj_description(t.oid, 'pg_class') IS NOT NULL
    UNION ALL
    SELECT 1, format('COMMENT ON COLUMN public.%I.%I IS %L', t.relname, a.attname, col_description(t.oid, a.attnum))
    FROM t
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE t.relkind = 'r' AND col_description(t.oid, a.attnum) IS NOT NULL
    UNION ALL
    SELECT 1, format('COMMENT ON CONSTRAINT %I ON public.%I IS %L', k.conname, t.relname,
                     obj_description(k.oid, 'pg_constraint'))
    FROM t
    JOIN pg_constraint k ON k.conrelid = t.oid
    WHERE obj_description(k.oid, 'pg_constraint') IS NOT NULL
    UNION ALL
    -- Last: who gives a table away may not grant on it any more.
    SELECT 2, format('ALTER TABLE public.%I OWNER TO %I', t.relname, pg_get_userbyid(t.relowner))
    FROM t
    WHERE t.relkind = 'r' AND pg_get_userbyid(t.relowner) <> current_user
)
SELECT statement FROM statements ORDER BY step, statement
