-- What the postgres baseline keeps, and its two calls: each one transaction in one round trip, with a row lock.

CREATE TABLE certificates (
    code       text PRIMARY KEY,
    status     text NOT NULL,
    currency   text NOT NULL,
    balance    bigint NOT NULL,
    held       bigint NOT NULL,
    version    integer NOT NULL,
    expires_at bigint NOT NULL,
    CHECK (held >= 0 AND balance >= held)
) WITH (fillfactor = 50);  -- room for new versions of a row beside the old ones: no index has to be touched

-- The log: rows are only ever added.
CREATE TABLE operations (
    code       text NOT NULL,
    version    integer NOT NULL,
    type       "char" NOT NULL,  -- H: held, C: captured
    hold       integer,
    amount     bigint NOT NULL,
    balance    bigint NOT NULL,
    held       bigint NOT NULL,
    expires_at bigint,
    client     text NOT NULL,
    at         bigint NOT NULL,
    PRIMARY KEY (code, version)
);
CREATE UNIQUE INDEX captured_once ON operations (code, hold) WHERE hold IS NOT NULL;

CREATE TABLE outcomes (
    key         bytea PRIMARY KEY,
    fingerprint bytea NOT NULL,
    refusal     text,
    version     integer,
    amount      bigint,
    balance     bigint,
    held        bigint,
    expires_at  bigint
);

CREATE TABLE outbox (
    lane     integer NOT NULL,
    seq      bigint GENERATED ALWAYS AS IDENTITY,
    topic    text NOT NULL,
    code     text NOT NULL,
    event_id text NOT NULL,
    at       bigint NOT NULL,
    value    text NOT NULL,
    PRIMARY KEY (lane, seq)
);

CREATE FUNCTION authorize(
    p_key bytea, p_fingerprint bytea, p_code text, p_amount bigint, p_currency text, p_at bigint, p_expires_at bigint,
    p_client text
) RETURNS outcomes LANGUAGE plpgsql AS $$
DECLARE
    known outcomes;
    found_ certificates;
BEGIN
    SELECT * INTO known FROM outcomes WHERE key = p_key;
    IF FOUND THEN
        RETURN known;
    END IF;
    known.key := p_key;
    known.fingerprint := p_fingerprint;
    SELECT * INTO found_ FROM certificates WHERE code = p_code FOR UPDATE;
    IF NOT FOUND THEN
        known.refusal := 'CertificateNotFound';
    ELSIF found_.status <> 'Active' THEN
        known.refusal := 'CertificateNotActive';
    ELSIF found_.expires_at <= p_at THEN
        known.refusal := 'CertificateExpired';
    ELSIF found_.currency <> p_currency THEN
        known.refusal := 'CurrencyMismatch';
    ELSIF found_.balance - found_.held < p_amount THEN
        known.refusal := 'InsufficientFunds';
    ELSE
        known.version := found_.version + 1;
        known.amount := p_amount;
        known.balance := found_.balance;
        known.held := found_.held + p_amount;
        known.expires_at := p_expires_at;
        UPDATE certificates SET held = known.held, version = known.version WHERE code = p_code;
        INSERT INTO operations VALUES
            (p_code, known.version, 'H', NULL, p_amount, known.balance, known.held, p_expires_at, p_client, p_at);
    END IF;
    INSERT INTO outcomes VALUES (known.*);
    RETURN known;
END
$$;

CREATE FUNCTION capture(
    p_key bytea, p_fingerprint bytea, p_code text, p_hold integer, p_at bigint, p_time text, p_client text,
    p_authorization text
) RETURNS outcomes LANGUAGE plpgsql AS $$
DECLARE
    known outcomes;
    found_ certificates;
    hold_ operations;
    event text;
    lane_ integer;
BEGIN
    SELECT * INTO known FROM outcomes WHERE key = p_key;
    IF FOUND THEN
        RETURN known;
    END IF;
    known.key := p_key;
    known.fingerprint := p_fingerprint;
    SELECT * INTO found_ FROM certificates WHERE code = p_code FOR UPDATE;
    SELECT * INTO hold_ FROM operations WHERE code = p_code AND version = p_hold AND type = 'H' AND client = p_client;
    IF NOT FOUND THEN
        known.refusal := 'AuthorizationNotFound';
    ELSIF hold_.expires_at <= p_at THEN
        known.refusal := 'AuthorizationExpired';
    ELSIF EXISTS (SELECT FROM operations WHERE code = p_code AND hold = p_hold) THEN
        known.refusal := 'AuthorizationAlreadyCaptured';
    ELSE
        known.version := found_.version + 1;
        known.amount := hold_.amount;
        known.balance := found_.balance - hold_.amount;
        known.held := found_.held - hold_.amount;
        UPDATE certificates SET balance = known.balance, held = known.held, version = known.version
            WHERE code = p_code;
        INSERT INTO operations VALUES
            (p_code, known.version, 'C', p_hold, known.amount, known.balance, known.held, NULL, p_client, p_at);
        event := p_code || '-' || known.version;
        lane_ := abs(hashtext(p_code) % 8);
        INSERT INTO outbox (lane, topic, code, event_id, at, value) VALUES
            (lane_, 'GiftCertificateTransaction', p_code, 't-' || event, p_at, format(
                '{"eventId":"t-%s","transactionId":"op-%s","type":"Capture","code":"%s","amount":%s,"currency":"%s",'
                '"balanceBefore":%s,"balanceAfter":%s,"version":%s,"authorizationId":"%s",'
                '"voidedTransactionId":null,"orderId":null,"orderLineId":null,"channel":null,"client":"%s",'
                '"reference":null,"occurredAt":"%s"}',
                event, event, p_code, known.amount, found_.currency, found_.balance, known.balance, known.version,
                p_authorization, p_client, p_time)),
            (lane_, 'GiftCertificateState', p_code, 's-' || event, p_at, format(
                '{"eventId":"s-%s","code":"%s","status":"Active","currency":"%s","denomination":null,"balance":%s,'
                '"held":%s,"available":%s,"version":%s,"channel":null,"orderId":null,"orderLineId":null,'
                '"activatedAt":null,"expiresAt":null,"occurredAt":"%s"}',
                event, p_code, found_.currency, known.balance, known.held, known.balance - known.held, known.version,
                p_time));
    END IF;
    INSERT INTO outcomes VALUES (known.*);
    RETURN known;
END
$$;
