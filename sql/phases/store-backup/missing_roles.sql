-- Makes, on a scratch server, those roles that a dump speaks of and the server does not have: nobody can log in as
-- one of them. psql: \set roles '["product_user"]'
SELECT format('CREATE ROLE %I', w.role) AS statement
FROM jsonb_array_elements_text(:'roles'::jsonb) w (role)
WHERE NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = w.role)
ORDER BY 1
