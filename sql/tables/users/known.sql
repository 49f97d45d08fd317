-- Users by the uid that others know them by: an empty one is none (rule 5). No CASE: its type would not say any
-- more how long a uid can be, and what the targets have no room for would be looked for in every row.
SELECT users.id, named.uid
FROM users
LEFT JOIN LATERAL (SELECT users.firebase_uid AS uid WHERE users.firebase_uid::text COLLATE "C" <> '') named ON true
