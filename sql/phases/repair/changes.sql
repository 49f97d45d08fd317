-- What has to be done to make one table agree with the wanted rows, into a temporary table of this
-- transaction: id, kind, change (JSON: what is written, or why nothing is).
--
-- kind: insert (its values), update (of each column that differs: name, value wanted, value found),
-- delete; surplus: a row beside another one with its id, or one without an id (its place in the table).
-- Where others write to the table too (DESIGN rule 13) theirs: a row that they added, conflict: a row that
-- is not as we last wrote it (of each column: name, value written, value found), twice: several rows have
-- the id (how many).
--
-- :changes, :wanted: the temporary tables; :found: the rows that are there, and the place of each,
-- xtask_ctid; :scope: which of them. :others: true where others write to the table. :last: the alias of
-- the rows as last written, joined by :join_last (w, and nothing, where what is wanted is what was last
-- written); what was last written and is not wanted any more is deleted. :id, :place: of the two together. :wanted_row, :found_row, :last_row: a whole row as text; :values, :assignments, :conflicts: a
-- column each, as text.
CREATE TEMP TABLE :changes ON COMMIT DROP AS
SELECT DISTINCT
       coalesce(:id, f.id)::bigint AS id,
       CASE WHEN :others AND f.id IS NULL AND f.xtask_ctid IS NOT NULL THEN 'theirs'
            WHEN :others AND f.xtask_times > 1 THEN 'twice'
            WHEN f.xtask_place > 1 OR (f.id IS NULL AND f.xtask_ctid IS NOT NULL) THEN 'surplus'
            WHEN :others AND :id IS NULL THEN 'theirs'
            WHEN :others AND :last_row IS DISTINCT FROM :found_row THEN 'conflict'
            WHEN f.id IS NULL THEN 'insert'
            WHEN w.id IS NULL THEN 'delete'
            ELSE 'update'
       END AS kind,
       CASE WHEN :others AND f.xtask_times > 1 THEN f.xtask_times::text
            WHEN f.xtask_place > 1 OR (f.id IS NULL AND f.xtask_ctid IS NOT NULL) THEN f.xtask_ctid::text
            WHEN :others AND :id IS NOT NULL AND :last_row IS DISTINCT FROM :found_row THEN
                CASE WHEN f.id IS NULL THEN 'gone'
                     WHEN :last.id IS NULL THEN 'foreign'
                     ELSE '[' || array_to_string(ARRAY[:conflicts], ', ') || ']'
                END
            WHEN f.id IS NULL THEN to_json(ARRAY[:values])::text
            WHEN w.id IS NOT NULL THEN '[' || array_to_string(ARRAY[:assignments], ', ') || ']'
       END AS change
FROM (SELECT *, 1::bigint AS xtask_place FROM :wanted) w
:join_last
FULL JOIN (
    SELECT *, row_number() OVER (PARTITION BY id ORDER BY xtask_ctid) AS xtask_place,
           count(*) OVER (PARTITION BY id) AS xtask_times
    FROM :found WHERE :scope
) f ON f.id = :id AND f.xtask_place = :place
WHERE :wanted_row IS DISTINCT FROM :found_row OR (f.id IS NULL AND f.xtask_ctid IS NOT NULL)
   OR (:others AND f.xtask_times > 1);

CREATE INDEX ON pg_temp.:changes (kind, id);
