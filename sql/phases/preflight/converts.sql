-- A function of the session on a target: whether a text is a value of a type, and the same value. What the
-- type would round, cut off or fill up is another. psql: \set type inet \set read value::inet
CREATE OR REPLACE FUNCTION pg_temp.converts(value text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    read :type;
    twice boolean;
BEGIN
    read := :read;
    CASE pg_typeof(read)::text
        WHEN 'jsonb' THEN
            -- Of two equal keys the last one stays.
            WITH RECURSIVE part AS (
                SELECT value::json AS part
                UNION ALL
                SELECT inner_part.value
                FROM part
                CROSS JOIN LATERAL (
                    SELECT e.value FROM json_each(CASE json_typeof(part.part) WHEN 'object' THEN part.part ELSE '{}' END) e
                    UNION ALL
                    SELECT e.value FROM json_array_elements(CASE json_typeof(part.part) WHEN 'array' THEN part.part ELSE '[]' END) e
                ) inner_part
            )
            SELECT bool_or(keys.twice) INTO twice
            FROM part
            CROSS JOIN LATERAL (
                SELECT count(*) <> count(DISTINCT e.key COLLATE "C") AS twice
                FROM json_each(CASE json_typeof(part.part) WHEN 'object' THEN part.part ELSE '{}' END) e
            ) keys;
            RETURN NOT twice;
        WHEN 'inet' THEN
            -- An address has many spellings with colons, and one without.
            RETURN value LIKE '%:%' OR value IN (format('%s', read), read::text);
        WHEN 'numeric', 'integer', 'bigint', 'smallint' THEN
            RETURN read::text::numeric = value::numeric;
        WHEN 'timestamp with time zone' THEN
            -- An instant, not a day or a time of day, and all of its digits.
            RETURN value ~ '^[^.]*(\.\d{1,6})?(Z|[+-]\d\d(:?\d\d)?)( BC)?$' AND value ~ '\d:\d';
        ELSE
            RETURN value COLLATE "C" IN (format('%s', read) COLLATE "C", read::text COLLATE "C");
    END CASE;
EXCEPTION
    -- Class 22: it is none.
    WHEN data_exception THEN
        RETURN false;
END $$
