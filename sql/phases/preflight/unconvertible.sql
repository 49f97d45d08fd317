-- Which of these values the session's function does not take. psql: \set ids {1,2} \set values {a,b}
SELECT v.id
FROM unnest(:'ids'::bigint[], :'values'::text[]) AS v (id, value)
WHERE NOT pg_temp.converts(v.value)
