-- One run at a time on a database: true if this session has the lock now. It goes with the session.
-- The lock is the database's own: others on the same server are not concerned.
-- psql: \set class 1  \set object 2
SELECT pg_try_advisory_lock(:class, :object)
