-- What a database is known by: one that is put back keeps it.
SELECT oid::int8 AS oid FROM pg_database WHERE datname = :'name'
