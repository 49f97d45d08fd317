-- Sequences that stand before where the backup found them are brought there: the dump reads them a moment earlier,
-- and no number is given out twice. A row for each that was moved. psql: \set wanted '{"public.users_id_seq": 7}'
SELECT w.name, setval(format('%I.%I', s.schemaname, s.sequencename)::regclass, w.last::bigint) AS last
FROM jsonb_each_text(:'wanted'::jsonb) w (name, last)
JOIN pg_sequences s ON format('%s.%s', s.schemaname, s.sequencename) = w.name
WHERE w.last IS NOT NULL AND NOT s.cycle
  AND (s.last_value IS NULL
       OR CASE WHEN s.increment_by > 0 THEN s.last_value < w.last::bigint ELSE s.last_value > w.last::bigint END)
ORDER BY 1
