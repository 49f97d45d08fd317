-- The hour before the last entry, of the newest 10,000, in the new database.
SELECT (max(n.created_at) - interval '1 hour')::text AS "from", max(n.created_at)::text AS "to"
FROM (SELECT * FROM api_logs ORDER BY id DESC LIMIT 10000) n
WHERE isfinite(n.created_at)
HAVING count(*) > 0
