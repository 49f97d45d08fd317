-- What this session's role needs to make a database that belongs to `owner` and to give it a name: each with
-- whether it is held, and the statement that gives what is missing. `database`: one that is to be put aside.
-- psql: \set owner shop_owner \set database ecommerce_db \set tablespace pg_default
SELECT 'CREATEDB' AS "grant", r.rolcreatedb OR r.rolsuper AS held,
       format('ALTER ROLE %I CREATEDB', current_user) AS statement
FROM pg_roles r
WHERE r.rolname = current_user
UNION ALL
SELECT 'membership in the owner ' || quote_ident(o.rolname), pg_has_role(o.oid, 'MEMBER'),
       format('GRANT %I TO %I', o.rolname, current_user)
FROM pg_roles o
WHERE o.rolname = :'owner'
UNION ALL
SELECT 'ownership of database ' || quote_ident(d.datname), pg_has_role(d.datdba, 'USAGE'),
       CASE WHEN o.rolsuper THEN format('ALTER DATABASE %I OWNER TO %I', d.datname, current_user)
            ELSE format('GRANT %I TO %I', o.rolname, current_user) END
FROM pg_database d
JOIN pg_roles o ON o.oid = d.datdba
WHERE d.datname = :'database'
UNION ALL
SELECT 'membership in pg_signal_backend', pg_has_role('pg_signal_backend', 'USAGE'),
       format('GRANT pg_signal_backend TO %I', current_user)
FROM pg_database d
WHERE d.datname = :'database'
UNION ALL
SELECT 'CREATE on tablespace ' || quote_ident(spcname), has_tablespace_privilege(oid, 'CREATE'),
       format('GRANT CREATE ON TABLESPACE %I TO %I', spcname, current_user)
FROM pg_tablespace
WHERE spcname = :'tablespace' AND spcname <> 'pg_default'
ORDER BY 1
