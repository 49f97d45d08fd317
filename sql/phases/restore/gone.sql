-- What the recorded properties name and this server does not have: a line each.
-- psql: \set properties '{"owner": "postgres", …}'
WITH p AS (
    SELECT * FROM jsonb_to_record(:'properties'::jsonb) p (owner text, tablespace text, grants jsonb, settings jsonb)
), roles (name) AS (
    SELECT p.owner FROM p
    UNION
    SELECT g.given ->> w.who FROM p, jsonb_array_elements(p.grants) g (given), (VALUES ('grantor'), ('grantee')) w (who)
    UNION
    SELECT s.setting ->> 'role' FROM p, jsonb_array_elements(p.settings) s (setting)
)
SELECT format('the role %I is gone: the run''s globals.sql has it', name) AS what
FROM roles
WHERE name IS NOT NULL AND name NOT IN (SELECT rolname::text FROM pg_roles)
UNION ALL
SELECT format('the tablespace %I is gone', p.tablespace)
FROM p
WHERE p.tablespace NOT IN (SELECT spcname::text FROM pg_tablespace)
ORDER BY 1
