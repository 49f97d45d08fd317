-- Rows that are not what the store holds: id, key, and in which columns. r as the old
-- database tells the row, t as the store has it, b as the run wrote it, p what was to be done with it.
-- :rows is the table's SELECT, :ids the ids that are looked at, :key the store's key of t, :columns a name or NULL each.
SELECT o.id, o.key, o.columns
FROM (
    SELECT r.id::bigint AS id, coalesce(:key, '') AS key, concat_ws(', ', :columns) AS columns
    FROM (
:rows
    ) r
    JOIN :theirs t ON t.id = r.id
    JOIN :put p ON p.id = r.id
    LEFT JOIN :base b ON b.id = r.id
    WHERE r.id = ANY (:ids)
) o
WHERE o.columns <> ''
ORDER BY 1
