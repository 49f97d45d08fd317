-- product_database: the Product Service's catalogue.
-- Names are unqualified: the container's init script creates them in public, the import in the
-- schema that it sets aside.

CREATE TABLE categories (
    id          serial       PRIMARY KEY,
    name        varchar(255) NOT NULL,
    description text,
    status      varchar(20),
    sort_order  integer,
    parent_id   integer      REFERENCES categories (id),
    slug        varchar(255),
    image_url   varchar(500),
    created_at  timestamptz  NOT NULL,
    updated_at  timestamptz,
    deleted_at  timestamptz
);

CREATE INDEX idx_categories_status    ON categories (status);
CREATE INDEX idx_categories_parent_id ON categories (parent_id);
CREATE INDEX idx_categories_slug      ON categories (slug);

CREATE TABLE products (
    id                serial         PRIMARY KEY,
    name              varchar(255)   NOT NULL,
    description       text,
    price             numeric(10, 2) NOT NULL,
    stock             integer,
    category_id       integer        REFERENCES categories (id),
    sku               varchar(100),
    image_url         varchar(500),
    status            varchar(20),
    tags              text[],
    slug              varchar(255),
    is_featured       boolean,
    cost_price        numeric(10, 2),
    margin_percentage numeric(5, 2),
    created_at        timestamptz    NOT NULL,
    updated_at        timestamptz,
    deleted_at        timestamptz
);

CREATE INDEX idx_products_category_id ON products (category_id);
CREATE INDEX idx_products_status      ON products (status);
CREATE INDEX idx_products_sku         ON products (sku);
CREATE INDEX idx_products_slug        ON products (slug);
CREATE INDEX idx_products_price       ON products (price);
CREATE INDEX idx_products_tags        ON products USING gin (tags);

-- order_id refers to order_database: no foreign key can hold it, `cargo xtask verify` does.
CREATE TABLE product_reviews (
    id                   serial       PRIMARY KEY,
    product_id           integer      NOT NULL REFERENCES products (id),
    user_uid             varchar(255) NOT NULL,
    order_id             integer,
    rating               integer      CHECK (rating BETWEEN 1 AND 5),
    title                varchar(255),
    comment              text,
    is_verified_purchase boolean,
    is_approved          boolean,
    created_at           timestamptz  NOT NULL,
    updated_at           timestamptz,
    deleted_at           timestamptz
);

CREATE INDEX idx_product_reviews_product_id ON product_reviews (product_id);
CREATE INDEX idx_product_reviews_user_uid   ON product_reviews (user_uid);
CREATE INDEX idx_product_reviews_rating     ON product_reviews (rating);
