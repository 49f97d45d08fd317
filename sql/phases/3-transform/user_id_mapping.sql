-- user_id → user_uid of every user, the soft-deleted too, and the outcome of the user's document.
SELECT u.id, u.firebase_uid, u.outcome FROM (
\ir ../../tables/users/2-export.sql
) u
