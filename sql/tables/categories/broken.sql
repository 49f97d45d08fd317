-- Categories that cannot go, and those whose chain of parents ends in one of them or in one that is
-- not there.
WITH RECURSIVE broken AS (
    SELECT c.id, 'quarantined:parent_missing' AS outcome
    FROM categories c
    WHERE c.parent_id IS NOT NULL
      AND NOT EXISTS (SELECT FROM categories p WHERE p.id = c.parent_id)
    UNION
    SELECT c.id, 'quarantined:text_undecodable' FROM categories c WHERE c.id IN (:undecodable_categories)
    UNION
    SELECT c.id, 'quarantined:value_missing' FROM categories c WHERE c.name IS NULL OR c.created_at IS NULL
    UNION
    SELECT c.id, 'quarantined:value_does_not_fit' FROM categories c WHERE c.id IN (:unfit_categories)
    UNION
    SELECT c.id, 'quarantined:parent_quarantined'
    FROM categories c
    JOIN broken b ON b.id = c.parent_id
)
SELECT id, outcome FROM broken
