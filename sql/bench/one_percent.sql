-- One row in a hundred is changed, as services would do it. psql: \set table orders
SET default_transaction_read_only = off;
UPDATE public.:"table" SET created_at = created_at + interval '1 second' WHERE id % 100 = 0
