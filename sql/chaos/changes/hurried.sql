-- Who writes or rewrites beside others does not wait for them for long.
SET lock_timeout = '100ms'
