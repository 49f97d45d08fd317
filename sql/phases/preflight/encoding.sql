-- What the server knows of an encoding: its right name, and the most bytes that a character takes. NULL: it
-- does not know the name. psql: \set encoding LATIN1
SELECT nullif(pg_encoding_to_char(e.number), '') AS name, pg_encoding_max_length(e.number) AS longest
FROM (SELECT pg_char_to_encoding(:'encoding') AS number) e
