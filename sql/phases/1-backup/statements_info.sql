-- Since when statements are counted, and how many this role may not read. psql: \set schema public
SELECT to_char(i.stats_reset AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"') AS since,
       (SELECT count(*)
        FROM :"schema".pg_stat_statements s
        WHERE s.dbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
          AND s.query = '<insufficient privilege>') AS hidden
FROM :"schema".pg_stat_statements_info i
