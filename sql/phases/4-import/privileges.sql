-- Owners and privileges of the tables that are about to take the place of those in public, as the statements that
-- make them what they were. A table that was not there gets what the server gives a table that is made in public
-- (default privileges are a schema's): that of the probe. Tables of both schemas, and the probe, have to be there.
-- psql: \set aside xtask_staging, \set tables {orders,payments}, \set probe xtask_probe
WITH aside AS (
    SELECT n.oid, n.relname, n.relowner, n.relacl, coalesce(o.oid, p.oid) AS model
    FROM pg_class n
    LEFT JOIN pg_class o ON o.relnamespace = 'public'::regnamespace AND o.relkind IN ('r', 'p') AND o.relname = n.relname
    JOIN pg_class p ON p.relnamespace = 'public'::regnamespace AND p.relname = :'probe'
    WHERE n.relnamespace = (:'aside')::regnamespace AND n.relkind = 'r' AND n.relname = ANY (:'tables'::text[])
), owned AS (
    SELECT d.refobjid AS owner_table, d.objid AS sequence, a.attname AS "column"
    FROM pg_depend d
    JOIN pg_sequence q ON q.seqrelid = d.objid
    JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
), pair AS (
    SELECT 'TABLE' AS noun, 'r'::"char" AS kind, aside.relname AS name, aside.relowner, aside.relacl, aside.model
    FROM aside
    UNION ALL
    SELECT 'SEQUENCE', 's', c.relname, c.relowner, c.relacl, o.sequence
    FROM aside
    JOIN owned n ON n.owner_table = aside.oid
    JOIN pg_class c ON c.oid = n.sequence
    JOIN owned o ON o.owner_table = aside.model AND o."column" = n."column"
), other AS (
    -- One order of privileges is as good as another, and is kept all the same.
    SELECT p.noun, p.name, p.relowner, p.relacl, m.relowner AS owner, coalesce(m.relacl, acldefault(p.kind, m.relowner)) AS wanted
    FROM pair p
    JOIN pg_class m ON m.oid = p.model
    WHERE m.relacl IS DISTINCT FROM p.relacl
), statements (step, place, statement) AS (
    -- First: who has given a table away grants as one of its owners.
    SELECT 1, 0, format('ALTER TABLE public.%I OWNER TO %I', aside.relname, pg_get_userbyid(m.relowner))
    FROM aside
    JOIN pg_class m ON m.oid = aside.model AND m.relowner <> aside.relowner
    UNION ALL
    SELECT 2, 0, format('REVOKE ALL ON %s public.%I FROM PUBLIC, %I%s', o.noun, o.name, pg_get_userbyid(o.owner),
                        (SELECT string_agg(DISTINCT format(', %I', pg_get_userbyid(g.grantee)), '')
                         FROM aclexplode(o.relacl) g WHERE g.grantee NOT IN (0, o.relowner, o.owner)))
    FROM other o
    UNION ALL
    SELECT 3, g.place, format('GRANT %s ON %s public.%I TO %s%s', g.privilege_type, o.noun, o.name,
                              CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END,
                              CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM other o
    CROSS JOIN LATERAL aclexplode(o.wanted) WITH ORDINALITY g (grantor, grantee, privilege_type, is_grantable, place)
    UNION ALL
    SELECT 4, g.place, format('GRANT %s (%I) ON public.%I TO %s%s', g.privilege_type, a.attname, aside.relname,
                              CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END,
                              CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM aside
    JOIN pg_attribute a ON a.attrelid = aside.model AND a.attacl IS NOT NULL AND NOT a.attisdropped
    CROSS JOIN LATERAL aclexplode(a.attacl) WITH ORDINALITY g (grantor, grantee, privilege_type, is_grantable, place)
)
SELECT statement FROM statements ORDER BY step, place, statement
