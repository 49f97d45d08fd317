-- What this session's role needs on a target (grants/migrate_target.sql): each with whether it is held,
-- and the statement that gives what is missing. psql: \set tables {orders,payments}
SELECT needed.privilege || ' on database ' || quote_ident(current_database()) AS "grant",
       has_database_privilege(current_database(), needed.privilege) AS held,
       format('GRANT %s ON DATABASE %I TO %I', needed.privilege, current_database(), current_user) AS statement
FROM (VALUES ('CREATE'), ('TEMPORARY')) needed (privilege)
UNION ALL
SELECT needed.privilege || ' on schema public',
       coalesce(has_schema_privilege(to_regnamespace('public')::oid, needed.privilege), false),
       format('GRANT %s ON SCHEMA public TO %I', needed.privilege, current_user)
FROM (VALUES ('USAGE'), ('CREATE')) needed (privilege)
UNION ALL
SELECT format('ownership of %I.%I', n.nspname, c.relname), pg_has_role(c.relowner, 'USAGE'),
       format('ALTER TABLE %I.%I OWNER TO %I', n.nspname, c.relname, current_user)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p')
  AND (n.nspname = 'xtask' OR n.nspname = 'public' AND c.relname = ANY (:'tables'::text[]))
UNION ALL
SELECT 'ownership of schema ' || quote_ident(nspname), pg_has_role(nspowner, 'USAGE'),
       format('ALTER SCHEMA %I OWNER TO %I', nspname, current_user)
FROM pg_namespace
WHERE nspname IN ('xtask', 'xtask_staging')
UNION ALL
-- A table that takes another's place is put into its publications, which only their owners may do.
SELECT 'ownership of publication ' || quote_ident(p.pubname), pg_has_role(p.pubowner, 'USAGE'),
       format('ALTER PUBLICATION %I OWNER TO %I', p.pubname, current_user)
FROM pg_publication p
WHERE EXISTS (SELECT FROM pg_publication_rel m
              JOIN pg_class c ON c.oid = m.prrelid
              JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE m.prpubid = p.oid AND n.nspname = 'public' AND c.relname = ANY (:'tables'::text[]))
ORDER BY 1
