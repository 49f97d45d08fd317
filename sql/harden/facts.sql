-- Who is who on this server: the service's role and the admin's, as far as they are there.
-- Variables: service, admin. Any role may ask.
SELECT service.oid IS NOT NULL AS service_is_there,
       -- Made by initdb: it owns the system's own tables and functions.
       coalesce(service.oid = 10, false) AS service_is_bootstrap,
       coalesce(service.rolsuper, false) AS service_is_superuser,
       EXISTS (SELECT FROM pg_roles WHERE rolname = :'admin') AS admin_is_there,
       EXISTS (SELECT FROM pg_roles WHERE rolsuper AND rolcanlogin AND rolname <> :'service') AS other_superuser,
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS may_do_all
FROM (SELECT) always
LEFT JOIN pg_roles service ON service.rolname = :'service'
