-- A category's parents, children and products decide whether it goes: they are few, and read again each time.
SELECT c.id::bigint AS id FROM categories c
