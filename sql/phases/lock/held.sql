-- Whether this very session has the lock still, a moment later: behind a pooler it may be another by now.
-- psql: \set class 1  \set object 2  \set moment 0.25
SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid()
      AND classid::bigint = :class AND objid::bigint = :object AND objsubid = 2
)
FROM (SELECT pg_sleep(:moment) OFFSET 0) waited
