-- Ends one session. psql: \set pid 4711
SELECT pg_terminate_backend(:pid)
