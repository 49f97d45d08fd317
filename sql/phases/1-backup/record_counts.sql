-- Rows of one table, as the guide counts them. psql: \set table users
SELECT :'table' AS table_name, count(*) AS record_count FROM ONLY public.:"table"
