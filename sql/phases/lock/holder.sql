-- Who has the lock on this database. Of other roles' sessions only superusers and pg_read_all_stats see
-- since when and from where; the name is for everybody. `began` tells whether it is a session of ours.
-- psql: \set class 1  \set object 2
SELECT l.pid, coalesce(a.backend_start::text, '') AS began,
       coalesce(nullif(a.application_name, ''), 'a session without a name') AS name,
       coalesce(to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'),
                'a time that this role may not see') AS since,
       CASE WHEN a.backend_start IS NULL THEN 'an address that this role may not see'
            ELSE coalesce(host(a.client_addr), 'a local socket') END AS client
FROM pg_locks l
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.classid::bigint = :class AND l.objid::bigint = :object
