-- Sequences that are missing, or stand before where the backup found them: a row each.
-- psql: \set wanted '{"public.users_id_seq": 7}'
SELECT w.name, w.last AS wanted, s.sequencename IS NOT NULL AS there, s.last_value::text AS found
FROM jsonb_each_text(:'wanted'::jsonb) w (name, last)
LEFT JOIN pg_sequences s ON format('%s.%s', s.schemaname, s.sequencename) = w.name
WHERE s.sequencename IS NULL
   OR (w.last IS NOT NULL AND NOT s.cycle
       AND (s.last_value IS NULL
            OR CASE WHEN s.increment_by > 0 THEN s.last_value < w.last::bigint
                    ELSE s.last_value > w.last::bigint END))
ORDER BY 1
