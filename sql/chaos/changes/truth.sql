-- Every row of the subject as it is: what the campaign itself believes.
SELECT t.id::bigint AS id, md5(t::text) AS value FROM subject t ORDER BY 1, 2
