-- A firebase_uid that several users have, and how many orders and reviews of theirs keep it: what
-- is whose stands in notes/orders.csv and notes/product_reviews.csv.
SELECT format('firebase_uid %L: users %s; %s orders, %s reviews', s.firebase_uid,
              (SELECT string_agg(u.id::text || CASE WHEN u.deleted_at IS NULL THEN '' ELSE ' (deleted)' END, ', ' ORDER BY u.id)
               FROM users u WHERE u.firebase_uid::text COLLATE "C" = s.firebase_uid),
              (SELECT count(*) FROM orders o JOIN users u ON u.id = o.user_id WHERE u.firebase_uid::text COLLATE "C" = s.firebase_uid),
              (SELECT count(*) FROM product_reviews r JOIN users u ON u.id = r.user_id
               WHERE u.firebase_uid::text COLLATE "C" = s.firebase_uid AND r.deleted_at IS NULL)) AS key
FROM (SELECT firebase_uid::text COLLATE "C" AS firebase_uid FROM users
      WHERE firebase_uid IS NOT NULL GROUP BY 1 HAVING count(*) > 1) s
