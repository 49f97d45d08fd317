-- Users without a firebase_uid: there is no id for a document.
SELECT format('users %s', id) AS key FROM users WHERE deleted_at IS NULL AND firebase_uid IS NULL
