-- A database of this server as it is before something takes its name: its number and its mark, where it has one.
-- No row: there is none of this name. psql: \set database shop
SELECT d.oid::bigint AS oid, coalesce(shobj_description(d.oid, 'pg_database'), '') AS comment
FROM pg_database d
WHERE d.datname = :'database'
