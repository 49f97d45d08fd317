-- Ids that several rows of a table have, and rows without one. psql: \set table users
SELECT format('%s %s: %s rows', :'table', coalesce(id::text, 'NULL'), count(*)) AS key
FROM public.:"table"
GROUP BY id
HAVING count(*) > 1 OR id IS NULL
