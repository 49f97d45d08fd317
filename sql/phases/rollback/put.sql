-- What has to be done with each key, from its three sides: t as the store has it, b as the run wrote it, m as the old
-- database tells it now; o is the old row itself. A value goes back where the store has changed it (t is not b) and
-- nobody else has (m is b); where both have changed it to different values, nothing of the row does.
-- psql: \set put put_orders; :theirs, :base, :mine are the mirror images of the sides, :old is the old table. Of the
-- columns that are compared: :moved some t is not b, :changed some m is not b, :collides some column has three values,
-- :stays some was changed in the old database alone. :names and :values: each column's value, and whether it goes back.
CREATE TEMP TABLE :"put" ON COMMIT DROP AS
SELECT r.id::bigint AS id,
       CASE WHEN r.is_new AND r.comes_back   THEN 'update'
            WHEN r.is_new                    THEN 'insert'
            WHEN r.is_gone AND NOT r.is_here THEN 'none'
            WHEN r.is_gone                   THEN 'delete'
            WHEN r.is_moved                  THEN 'update'
            ELSE 'none'
       END AS op,
       r.problem, r.why, r.note
       :names
FROM (
    SELECT coalesce(t.id, b.id) AS id,
           b.id IS NULL         AS is_new,
           t.id IS NULL         AS is_gone,
           o.id IS NOT NULL     AS is_here,
           -- A document's row may be there already: of a user who was deleted, and came back.
           :comes_back          AS comes_back,
           :moved               AS is_moved,
           CASE WHEN b.id IS NULL AND o.id IS NOT NULL AND NOT :comes_back             THEN 'conflict'
                WHEN b.id IS NOT NULL AND t.id IS NOT NULL AND (o.id IS NULL OR :collides) THEN 'conflict'
                WHEN t.id IS NULL AND m.id IS NOT NULL AND :changed                    THEN 'conflict'
                WHEN w.bearers > 1 AND (b.id IS NULL OR :uid_moved)                    THEN 'uid_not_unique'
           END AS problem,
           w.ids AS why,
           CASE WHEN b.id IS NOT NULL AND t.id IS NOT NULL AND :stays
                    THEN 'the old database has changed it too, in other columns'
           END AS note
           :values
    FROM (
:theirs
    ) t
    FULL JOIN (
:base
    ) b ON b.id = t.id
    LEFT JOIN (
:mine
    ) m ON m.id = coalesce(t.id, b.id)
    LEFT JOIN :old o ON o.id = coalesce(t.id, b.id)
    -- A uid that several users have.
    LEFT JOIN :owners w ON w.uid = :uid AND w.bearers > 1
) r
