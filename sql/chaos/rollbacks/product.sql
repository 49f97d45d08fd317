-- What a product service writes after the cut-over, drawn by the seed.
-- psql: \set seed 0.42 \set writes 6 \set uids {uid-1,uid-2}
SELECT setseed(:seed);
INSERT INTO categories (name, description, slug, parent_id, created_at)
SELECT 'category ' || n, CASE WHEN random() < 0.3 THEN '' END, nullif('c-' || (random() * 1e9)::bigint, 'c-0'),
       (SELECT id FROM categories ORDER BY random() LIMIT 1), now()
FROM generate_series(1, 2) n;
INSERT INTO products (name, price, stock, category_id, sku, slug, tags, created_at)
SELECT 'product ' || n, round((random() * 900)::numeric, 2), (random() * 50)::int,
       (SELECT id FROM categories ORDER BY random() LIMIT 1), 's-' || (random() * 1e9)::bigint,
       CASE WHEN random() < 0.5 THEN 'p-' || (random() * 1e9)::bigint END,
       CASE WHEN random() < 0.5 THEN ARRAY['a', 'b "c"', NULL, ''] END, clock_timestamp()
FROM generate_series(1, :writes) n;
UPDATE products SET price = round((random() * 900)::numeric, 2), description = nullif(left(md5(random()::text), 4), 'none'),
                    tags = CASE WHEN random() < 0.3 THEN '{}'::text[] ELSE tags END, updated_at = clock_timestamp()
WHERE id IN (SELECT id FROM products ORDER BY random() LIMIT :writes);
-- Two exchange their keys.
WITH pair AS (SELECT id, sku, row_number() OVER () AS n FROM (SELECT id, sku FROM products ORDER BY random() LIMIT 2) drawn)
UPDATE products p SET sku = other.sku
FROM pair one JOIN pair other ON other.n = 3 - one.n
WHERE p.id = one.id;
UPDATE products SET deleted_at = CASE WHEN deleted_at IS NULL THEN now() END
WHERE id IN (SELECT id FROM products ORDER BY random() LIMIT 2);
INSERT INTO product_reviews (product_id, user_uid, rating, title, comment, created_at)
SELECT (SELECT id FROM products ORDER BY random() LIMIT 1),
       (SELECT uid FROM unnest(:'uids'::text[]) uid ORDER BY random(), n LIMIT 1), 1 + (random() * 4)::int, '', E'\\.\n', now()
FROM generate_series(1, :writes) n;
UPDATE product_reviews SET rating = NULL, is_approved = NOT is_approved
WHERE id IN (SELECT id FROM product_reviews ORDER BY random() LIMIT 3);
DELETE FROM product_reviews WHERE id IN (SELECT id FROM product_reviews ORDER BY random() LIMIT 3);
DELETE FROM products WHERE id IN (SELECT p.id FROM products p
                                  WHERE NOT EXISTS (SELECT FROM product_reviews r WHERE r.product_id = p.id)
                                  ORDER BY random() LIMIT 1)
