-- Triggers of a table that fire for rows which are written (not those of foreign keys), each with what keeps it quiet and
-- what brings it back as it was. psql: \set table orders
SELECT format('%s on %s', t.tgname, c.relname)                                  AS name,
       format('ALTER TABLE public.%I DISABLE TRIGGER %I', c.relname, t.tgname)  AS quiet,
       format('ALTER TABLE public.%I ENABLE %s TRIGGER %I', c.relname,
              CASE t.tgenabled WHEN 'A' THEN 'ALWAYS' ELSE '' END, t.tgname)    AS again
FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid
WHERE c.oid = format('public.%I', :'table')::regclass
  AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
ORDER BY t.tgname
