-- Whether a session is still there. psql: \set pid 4711
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = :pid AND coalesce(application_name, '') NOT LIKE 'xtask %')
