-- The CRM workspace: who sells what to whom, and what happened on the way.
--
--   id        TEXT, UUIDs made on the device.
--   *_at      INTEGER, milliseconds since 1970 UTC: when it happened.
--   *_on      TEXT 'YYYY-MM-DD'.
--   *_minor   INTEGER, money in minor units (cents, fen).
-- The rule beside a column says what happens when two people change it apart; docs/rules.md explains them.

-- @table scope=all delete=forbid
CREATE TABLE org_unit (              -- head office and its branches
  id           TEXT PRIMARY KEY,     -- @id
  parent_id    TEXT REFERENCES org_unit(id), -- @lww
  kind         TEXT,                 -- @immutable  head_office|branch
  name         TEXT,                 -- @lww
  created_at   INTEGER               -- @immutable
);

-- @table scope=all delete=forbid
CREATE TABLE user (                  -- an employee
  id           TEXT PRIMARY KEY,     -- @id
  login        TEXT,                 -- @immutable
  name         TEXT,                 -- @lww
  role         TEXT DEFAULT 'rep',   -- @lww        rep|branch_manager|hq
  org_unit_id  TEXT REFERENCES org_unit(id), -- @lww
  manager_id   TEXT REFERENCES user(id), -- @lww
  phone        TEXT,                 -- @lww
  active       INTEGER DEFAULT 1,    -- @min        0 = has left the company; that stays
  created_at   INTEGER               -- @immutable
);

-- @table scope=all delete=forbid
CREATE TABLE product (               -- catalogue and price list
  id           TEXT PRIMARY KEY,     -- @id
  name         TEXT,                 -- @immutable
  series       TEXT,                 -- @lww
  price_minor  INTEGER,              -- @lww
  active       INTEGER DEFAULT 1,    -- @lww
  created_at   INTEGER               -- @immutable
);

-- @table scope=row(owner_id, org_unit_id) delete=forbid
CREATE TABLE account (               -- a customer
  id           TEXT PRIMARY KEY,     -- @id
  name         TEXT,                 -- @lww
  type         TEXT DEFAULT 'prospect', -- @lww     prospect|customer|partner
  industry     TEXT,                 -- @lww
  source       TEXT,                 -- @first      how the customer first came to us
  phone        TEXT,                 -- @lww
  website      TEXT,                 -- @lww
  country      TEXT,                 -- @group(address)
  city         TEXT,                 -- @group(address)
  street       TEXT,                 -- @group(address)
  postcode     TEXT,                 -- @group(address)
  employees    INTEGER,              -- @lww
  revenue_minor INTEGER,             -- @lww
  tier         TEXT,                 -- @lww        A|B|C
  parent_id    TEXT REFERENCES account(id), -- @lww  group company
  owner_id     TEXT REFERENCES user(id), -- @group(owner)
  org_unit_id  TEXT REFERENCES org_unit(id), -- @group(owner)
  customer_since_on TEXT,            -- @min
  last_contact_at INTEGER,           -- @max
  contact_count INTEGER DEFAULT 0,   -- @counter    visits and calls, added up over all devices
  description  TEXT,                 -- @lww
  archived     INTEGER DEFAULT 0,    -- @lww        instead of deleting
  created_at   INTEGER               -- @immutable
);

-- @table scope=via(account_id) delete=edit_wins
CREATE TABLE contact (               -- a person
  id           TEXT PRIMARY KEY,     -- @id
  account_id   TEXT REFERENCES account(id), -- @lww
  name         TEXT,                 -- @lww
  title        TEXT,                 -- @lww
  mobile       TEXT,                 -- @lww
  email        TEXT,                 -- @lww
  opt_out      INTEGER DEFAULT 0,    -- @max        once refused, stays refused
  last_verified_at INTEGER,          -- @max
  created_at   INTEGER               -- @immutable
);

-- @table scope=via(account_id) row(owner_id) delete=edit_wins
CREATE TABLE opportunity (
  id           TEXT PRIMARY KEY,     -- @id
  account_id   TEXT REFERENCES account(id), -- @lww
  product_id   TEXT REFERENCES product(id), -- @lww
  name         TEXT,                 -- @lww
  stage        TEXT DEFAULT 'prospecting', -- @group(stage)  prospecting|engaging|won|lost
  probability  INTEGER,              -- @group(stage)
  lost_reason  TEXT,                 -- @group(stage)
  closed_on    TEXT,                 -- @group(stage)
  amount_minor INTEGER,              -- @group(amount)
  currency     TEXT DEFAULT 'USD',   -- @group(amount)
  engaged_on   TEXT,                 -- @min
  next_step    TEXT,                 -- @lww
  owner_id     TEXT REFERENCES user(id), -- @lww
  created_at   INTEGER               -- @immutable
);

-- @table scope=via(account_id) delete=forbid append
CREATE TABLE activity (              -- what happened with the customer: visits, calls, notes
  id           TEXT PRIMARY KEY,
  account_id   TEXT REFERENCES account(id),
  contact_id   TEXT REFERENCES contact(id),
  opportunity_id TEXT REFERENCES opportunity(id),
  kind         TEXT,                 -- visit|call|email|note|correction
  occurred_at  INTEGER,
  duration_min INTEGER,
  subject      TEXT,
  body         TEXT,
  corrects_id  TEXT REFERENCES activity(id),
  user_id      TEXT REFERENCES user(id)
);

CREATE INDEX idx_contact_account ON contact(account_id);
CREATE INDEX idx_opportunity_account ON opportunity(account_id);
CREATE INDEX idx_opportunity_owner ON opportunity(owner_id, stage);
CREATE INDEX idx_activity_account ON activity(account_id, occurred_at);

-- Who may enrol devices, and what each of them holds grants for.
CREATE VIEW satchel_users(login, id, role, active) AS
SELECT login, id, role, active FROM user;

CREATE VIEW satchel_grants(user, value) AS
SELECT id, id FROM user
UNION SELECT id, org_unit_id FROM user WHERE org_unit_id IS NOT NULL;

-- The head of the 360-degree view: one row per customer.
CREATE VIEW v_account_360 AS
SELECT a.id, a.name, a.tier, u.name AS owner, o.name AS branch,
  (SELECT COUNT(*) FROM contact c WHERE c.account_id = a.id) AS contacts,
  (SELECT COUNT(*) FROM opportunity p WHERE p.account_id = a.id AND p.stage NOT IN ('won', 'lost'))
    AS open_opportunities,
  (SELECT COALESCE(SUM(p.amount_minor), 0) FROM opportunity p
   WHERE p.account_id = a.id AND p.stage NOT IN ('won', 'lost')) AS open_amount_minor,
  (SELECT COALESCE(SUM(p.amount_minor), 0) FROM opportunity p
   WHERE p.account_id = a.id AND p.stage = 'won') AS won_minor,
  (SELECT COUNT(*) FROM activity t WHERE t.account_id = a.id) AS activities,
  a.last_contact_at
FROM account a
LEFT JOIN user u ON u.id = a.owner_id
LEFT JOIN org_unit o ON o.id = a.org_unit_id;

-- What happened with a customer, by the time it happened.
CREATE VIEW v_account_timeline AS
SELECT t.account_id, t.occurred_at, t.kind, u.name AS who, t.subject AS text
FROM activity t LEFT JOIN user u ON u.id = t.user_id
UNION ALL
SELECT p.account_id, CAST(strftime('%s', p.closed_on) AS INTEGER) * 1000, p.stage, u.name, p.name
FROM opportunity p LEFT JOIN user u ON u.id = p.owner_id WHERE p.closed_on IS NOT NULL;

CREATE VIEW v_pipeline AS
SELECT stage, COUNT(*) AS count, COALESCE(SUM(amount_minor), 0) AS amount_minor
FROM opportunity GROUP BY stage;
