-- product-service: a product by its SKU
SELECT * FROM products WHERE sku = :'sku' AND deleted_at IS NULL
