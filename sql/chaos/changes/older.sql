-- A transaction that has a number, and stays open.
BEGIN;
SELECT pg_current_xact_id()
