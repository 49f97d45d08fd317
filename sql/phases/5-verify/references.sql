-- References that leave the database, against the keys that the other store holds (temporary table
-- known, columns id, key and state). By state: how many rows refer to such a key. Where nobody knows
-- it (state NULL) also one of the rows and one of the keys: of the others nobody asks for it.
-- A key that one row brought there is there, whatever became of the others that have it.
-- psql: \set table orders, column user_uid
SELECT k.state, count(*) AS rows, (min(t.id) FILTER (WHERE k.state IS NULL))::text AS example,
       min(t.:"column"::text COLLATE "C") FILTER (WHERE k.state IS NULL) AS example_key
FROM public.:"table" t
LEFT JOIN (SELECT key, coalesce(min(state) FILTER (WHERE state = 'migrated'), min(state)) AS state
           FROM pg_temp.known GROUP BY key) k ON k.key = t.:"column"::text
WHERE t.:"column" IS NOT NULL
GROUP BY k.state
ORDER BY k.state
