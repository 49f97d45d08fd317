-- What has to be done to make one table agree with the wanted rows, into a temporary table of this
-- transaction: id, kind, change (what is written, or why it is not).
--
-- kind: insert, update, delete; twice: several rows have the id; and where others write to the table too
-- (DESIGN rule 13) theirs: a row that they added, conflict: a row that is not as we last wrote it.
--
-- :changes, :wanted, :found: the temporary tables, and the table itself; :scope: which of its rows.
-- :others: true where others write to it. :last: the alias of the rows as last written, joined by
-- :join_last (w, and nothing, where what is wanted is what was last written).
-- :wanted_row, :found_row, :last_row: a whole row as text; :constants, :assignments, :conflicts: a column
-- each, as text: its value, its assignment if it differs, how it differs from what was last written.
CREATE TEMP TABLE :changes ON COMMIT DROP AS
SELECT DISTINCT
       coalesce(w.id, f.id)::bigint AS id,
       CASE WHEN f.xtask_times > 1 THEN 'twice'
            WHEN :others AND w.id IS NULL THEN 'theirs'
            WHEN :others AND :last_row IS DISTINCT FROM :found_row THEN 'conflict'
            WHEN f.id IS NULL THEN 'insert'
            WHEN w.id IS NULL THEN 'delete'
            ELSE 'update'
       END AS kind,
       CASE WHEN f.xtask_times > 1 THEN f.xtask_times::text
            WHEN :others AND w.id IS NOT NULL AND :last_row IS DISTINCT FROM :found_row THEN
                CASE WHEN f.id IS NULL THEN 'it is not there any more'
                     WHEN :last.id IS NULL THEN 'a row with this id is there that we did not write'
                     ELSE array_to_string(ARRAY[:conflicts], '; ')
                END
            WHEN f.id IS NULL THEN '(' || array_to_string(ARRAY[:constants], ', ') || ')'
            WHEN w.id IS NOT NULL THEN array_to_string(ARRAY[:assignments], ', ')
       END AS change
FROM :wanted w
:join_last
FULL JOIN (
    SELECT *, count(*) OVER (PARTITION BY id) AS xtask_times FROM :found WHERE :scope
) f ON f.id = w.id
WHERE :wanted_row IS DISTINCT FROM :found_row OR f.xtask_times > 1;

CREATE INDEX ON pg_temp.:changes (kind, id);
