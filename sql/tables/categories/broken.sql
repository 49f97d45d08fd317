-- Categories whose chain of parents ends in one that is not there.
WITH RECURSIVE broken AS (
    SELECT c.id, 'quarantined:parent_missing' AS outcome
    FROM categories c
    WHERE c.parent_id IS NOT NULL
      AND NOT EXISTS (SELECT FROM categories p WHERE p.id = c.parent_id)
    UNION
    SELECT c.id, 'quarantined:parent_quarantined'
    FROM categories c
    JOIN broken b ON b.id = c.parent_id
)
SELECT id, outcome FROM broken
