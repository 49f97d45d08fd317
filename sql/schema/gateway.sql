-- gateway_database: the API Gateway's logs and analytics.
-- Names are unqualified: the container's init script creates them in public, the import in the
-- schema that it sets aside.

CREATE TABLE api_logs (
    id           serial       PRIMARY KEY,
    service_name varchar(100),
    path         text,
    method       varchar(10),
    status_code  integer,
    latency_ms   integer,
    user_uid     varchar(255),
    ip_address   inet,
    user_agent   text,
    request_id   varchar(100),
    created_at   timestamptz  NOT NULL
);

CREATE INDEX idx_api_logs_service_name ON api_logs (service_name);
CREATE INDEX idx_api_logs_status_code  ON api_logs (status_code);
CREATE INDEX idx_api_logs_user_uid     ON api_logs (user_uid);
CREATE INDEX idx_api_logs_created_at   ON api_logs (created_at);

CREATE TABLE analytics_events (
    id           serial       PRIMARY KEY,
    event_name   varchar(100) NOT NULL,
    user_uid     varchar(255),
    session_id   text,
    properties   jsonb,
    ip_address   inet,
    user_agent   text,
    referrer     text,
    utm_source   varchar(100),
    utm_medium   varchar(100),
    utm_campaign varchar(100),
    created_at   timestamptz  NOT NULL
);

CREATE INDEX idx_analytics_events_event_name ON analytics_events (event_name);
CREATE INDEX idx_analytics_events_user_uid   ON analytics_events (user_uid);
CREATE INDEX idx_analytics_events_created_at ON analytics_events (created_at);
CREATE INDEX idx_analytics_events_properties ON analytics_events USING gin (properties);
