-- Where a nonce is left.
CREATE SCHEMA xtask
