-- The tables of a database, and its size: on any of a stack's databases.
SELECT pg_database_size(current_database()),
       coalesce((SELECT array_agg(tablename::text ORDER BY tablename) FROM pg_tables WHERE schemaname = 'public'),
                '{}')
