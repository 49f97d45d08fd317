-- Keeps rows that are going to be changed or deleted out of a unique index until that is done, so that two of them
-- can swap their values and a new row can take that of one that goes. What is put into the column is overwritten by
-- the row's own change, which gets its value where it does not write it anyway.
-- psql: \set table products \set changes changes_products \set wanted wanted_products \set columns {slug}
-- \set column slug \set aside NULL
CREATE TEMP TABLE aside ON COMMIT DROP AS
SELECT c.id, c.kind, c.change::jsonb AS change
FROM pg_temp.:"changes" c
WHERE c.kind = 'delete' OR c.kind = 'update' AND EXISTS (
    SELECT FROM jsonb_array_elements(c.change::jsonb) d WHERE d ->> 0 = ANY (:'columns'::text[]));

UPDATE pg_temp.:"changes" c
SET change = (a.change || jsonb_build_array(jsonb_build_array(:'column', w.:"column"::text, NULL)))::text
FROM aside a
JOIN pg_temp.:"wanted" w ON w.id = a.id
WHERE c.id = a.id AND c.kind = 'update' AND a.kind = 'update'
  AND NOT EXISTS (SELECT FROM jsonb_array_elements(a.change) d WHERE d ->> 0 = :'column');

UPDATE public.:"table" t SET :"column" = :aside FROM aside a WHERE t.id = a.id;

DROP TABLE aside;
