-- order_database: the Order Service's orders and payments.
-- Names are unqualified: the container's init script creates them in public, the import in the
-- schema that it sets aside.

CREATE TABLE orders (
    id              serial         PRIMARY KEY,
    user_uid        varchar(255)   NOT NULL,
    total_amount    numeric(10, 2) NOT NULL,
    status          varchar(30),
    subtotal        numeric(10, 2),
    tax_amount      numeric(10, 2),
    shipping_amount numeric(10, 2),
    discount_amount numeric(10, 2),
    payment_status  varchar(30),
    payment_method  varchar(50),
    shipping_method varchar(50),
    tracking_number varchar(100),
    created_at      timestamptz    NOT NULL,
    updated_at      timestamptz
);

CREATE INDEX idx_orders_user_uid       ON orders (user_uid);
CREATE INDEX idx_orders_status         ON orders (status);
CREATE INDEX idx_orders_payment_status ON orders (payment_status);
CREATE INDEX idx_orders_created_at     ON orders (created_at);

-- product_id refers to product_database: no foreign key can hold it, `cargo xtask verify` does.
CREATE TABLE order_items (
    id              serial         PRIMARY KEY,
    order_id        integer        NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    product_id      integer,
    product_name    varchar(255),
    quantity        integer        NOT NULL,
    unit_price      numeric(10, 2) NOT NULL,
    subtotal        numeric(10, 2),
    tax_amount      numeric(10, 2),
    discount_amount numeric(10, 2),
    final_price     numeric(10, 2),
    created_at      timestamptz    NOT NULL,
    updated_at      timestamptz
);

CREATE INDEX idx_order_items_order_id   ON order_items (order_id);
CREATE INDEX idx_order_items_product_id ON order_items (product_id);

CREATE TABLE payments (
    id               serial         PRIMARY KEY,
    order_id         integer        NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    amount           numeric(10, 2) NOT NULL,
    status           varchar(30),
    payment_method   varchar(50),
    currency         varchar(3),
    transaction_id   varchar(255),
    gateway          varchar(50),
    gateway_response jsonb,
    created_at       timestamptz    NOT NULL,
    updated_at       timestamptz
);

CREATE INDEX idx_payments_order_id       ON payments (order_id);
CREATE INDEX idx_payments_status         ON payments (status);
CREATE INDEX idx_payments_transaction_id ON payments (transaction_id);
