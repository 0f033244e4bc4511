-- The CRM workspace: who sells what to whom, what was promised, what was paid, and what happened on the way.
-- SQLite 3.38 or newer.  29 tables: 25 of the business, 4 of set-up.
--
--   id        TEXT. UUIDs made on the device: satchel_uuid(). A row that says "these two belong together", or
--             one occurrence of something that repeats, has the id satchel_uuid5(its natural key), so that two
--             devices that make it apart make the same row.
--   *_at      INTEGER, milliseconds since 1970 UTC: when it HAPPENED (satchel_now(), not when it was sent).
--   *_on      TEXT 'YYYY-MM-DD'.
--   *_minor   INTEGER, money in minor units (fen, cents).
--   booleans  INTEGER 0/1.
--   custom    TEXT, a JSON object, merged per key.     tags, roles, skills   TEXT, a JSON array, merged per element.
--
-- REFERENCES says what a column points at (scopes, restrict, key merges follow it). It is checked on local writes
-- where the application turns foreign keys on, never when devices' writes are merged. There is no cascade, and no
-- UNIQUE but the primary key: two devices that invent the same number apart are what @key is for.
--
-- The rule beside a column says what happens when two people change it apart; docs/rules.md explains each rule,
-- docs/schema.md the rest of the notation. examples/crm/README.md tells the tables as a story.

-- ───────────── set-up (4) ─────────────

-- @table scope=all delete=forbid
CREATE TABLE org_unit (            -- head office, branch, team, territory: one tree
  id           TEXT PRIMARY KEY,   -- @id
  parent_id    TEXT REFERENCES org_unit(id), -- @authority(hq)
  kind         TEXT,               -- @immutable   head_office|branch|team|territory
  code         TEXT,               -- @key         e.g. 'CD'
  name         TEXT,               -- @authority(hq)
  match_rule   TEXT,               -- @authority(hq) JSON: region/industry/product a territory covers
  created_at   INTEGER             -- @immutable
);

-- @table scope=all delete=forbid
CREATE TABLE user (                -- employee
  id           TEXT PRIMARY KEY,   -- @id
  login        TEXT,               -- @key
  name         TEXT,               -- @lww
  role         TEXT,               -- @authority(hq) rep|branch_manager|engineer|marketing|finance|call_centre|hq|connector
  org_unit_id  TEXT REFERENCES org_unit(id), -- @authority(hq)
  manager_id   TEXT REFERENCES user(id), -- @authority(hq)
  skills       TEXT DEFAULT '[]',  -- @set         used by lead auto-assignment
  lead_capacity INTEGER DEFAULT 30,-- @authority(hq>branch_manager) leads per 30 days
  phone        TEXT,               -- @lww
  email        TEXT,               -- @lww
  active       INTEGER DEFAULT 1,  -- @authority(hq) 0 = left the company
  created_at   INTEGER             -- @immutable
);

-- @table scope=all delete=forbid
CREATE TABLE pipeline_stage (      -- order, probability and guidance of every state a sync rule can move through
  id           TEXT PRIMARY KEY,   -- @id          '<machine>:<code>', e.g. 'opportunity:proposal'
  machine      TEXT,               -- @immutable   lead|opportunity|quote|sales_order|delivery|payment|service_case|task|campaign|campaign_member
  code         TEXT,               -- @immutable
  rank         INTEGER,            -- @authority(hq) concurrent moves: higher rank wins
  is_closed    INTEGER DEFAULT 0,  -- @authority(hq)
  is_won       INTEGER DEFAULT 0,  -- @authority(hq)
  probability  INTEGER,            -- @authority(hq) default % for an opportunity entering it
  back_to      TEXT DEFAULT '[]',  -- @authority(hq) JSON: lower states a writer who SAW this one may go back to
  guidance     TEXT,               -- @authority(hq) what to do here (selling tips)
  created_at   INTEGER             -- @immutable
);

-- @table scope=all delete=forbid
CREATE TABLE custom_field (        -- no-code customisation: keys allowed in <table>.custom
  id           TEXT PRIMARY KEY,   -- @id          uuid5(table_name, name)
  table_name   TEXT,               -- @immutable
  name         TEXT,               -- @immutable
  label        TEXT,               -- @authority(hq)
  type         TEXT,               -- @immutable   text|integer|real|date|boolean|choice
  choices      TEXT DEFAULT '[]',  -- @set
  rule         TEXT DEFAULT 'lww', -- @immutable   conflict rule of this key
  required     INTEGER DEFAULT 0,  -- @authority(hq)
  active       INTEGER DEFAULT 1,  -- @authority(hq)
  created_at   INTEGER             -- @immutable
);

-- ───────────── customers (5) ─────────────

-- @table scope=row(owner_id, org_unit_id, id) delete=restrict
CREATE TABLE account (             -- customer, partner, agent, supplier
  id           TEXT PRIMARY KEY,   -- @id
  name         TEXT,               -- @lww
  type         TEXT DEFAULT 'prospect', -- @lww         prospect|customer|partner|agent|distributor|supplier
  tax_no       TEXT,               -- @key         unified social credit code / VAT: the strong duplicate key
  erp_id       TEXT,               -- @authority(connector)  customer number in the ERP (one customer model)
  industry     TEXT,               -- @lww
  source       TEXT,               -- @first       channel the customer first came from
  phone        TEXT,               -- @lww
  website      TEXT,               -- @lww
  country      TEXT,               -- @group(address)
  province     TEXT,               -- @group(address)
  city         TEXT,               -- @group(address)
  street       TEXT,               -- @group(address)
  postcode     TEXT,               -- @group(address)
  employees    INTEGER,            -- @lww
  revenue_minor INTEGER,           -- @lww         the customer's own turnover in a year
  tier         TEXT,               -- @authority(hq>branch_manager)  A|B|C key-account class
  tier_reviewed_at INTEGER,        -- @max
  credit_limit_minor INTEGER,      -- @authority(connector>finance)
  parent_id    TEXT REFERENCES account(id), -- @lww         group company
  owner_id     TEXT REFERENCES user(id), -- @claim(hq>branch_manager>rep)
  org_unit_id  TEXT REFERENCES org_unit(id), -- @follows(owner_id)  branch that serves it: the scope root
  customer_since_on TEXT,          -- @min
  last_contact_at INTEGER,         -- @max
  description  TEXT,               -- @text3
  preferences  TEXT DEFAULT '[]',  -- @set         hobbies, interests, needs
  tags         TEXT DEFAULT '[]',  -- @set
  custom       TEXT DEFAULT '{}',  -- @map
  archived     INTEGER DEFAULT 0,  -- @lww         instead of deleting
  created_at   INTEGER,            -- @immutable
  created_by   TEXT                -- @immutable
);

-- @table scope=via(account_id) delete=edit_wins
CREATE TABLE contact (             -- person
  id           TEXT PRIMARY KEY,   -- @id
  account_id   TEXT REFERENCES account(id), -- @lww         where the person works NOW; the past is in contact_role
  name         TEXT,               -- @lww
  title        TEXT,               -- @lww
  department   TEXT,               -- @lww
  mobile       TEXT,               -- @key(weak)   suggests a duplicate; merges only with equal name
  phone        TEXT,               -- @lww
  email        TEXT,               -- @key(weak)
  wechat       TEXT,               -- @lww
  birthday_on  TEXT,               -- @lww
  preferences  TEXT DEFAULT '[]',  -- @set
  opt_out      INTEGER DEFAULT 0,  -- @max         once refused, stays refused
  last_verified_at INTEGER,        -- @max
  last_contact_at INTEGER,         -- @max
  description  TEXT,               -- @text3
  custom       TEXT DEFAULT '{}',  -- @map
  created_at   INTEGER,            -- @immutable
  created_by   TEXT                -- @immutable
);

-- @table scope=via(account_id) delete=forbid
CREATE TABLE contact_role (        -- key persons and how they change; ended, never deleted
  id           TEXT PRIMARY KEY,   -- @id          uuid5(contact_id, account_id, opportunity_id, started_on)
  contact_id   TEXT REFERENCES contact(id), -- @immutable
  account_id   TEXT REFERENCES account(id), -- @immutable
  opportunity_id TEXT REFERENCES opportunity(id), -- @immutable   NULL = a role in the company as a whole
  roles        TEXT DEFAULT '[]',  -- @set         decision_maker|economic_buyer|influencer|technical_buyer|user|gatekeeper|reference
  title        TEXT,               -- @lww         post held in this period
  budget_limit_minor INTEGER,      -- @lww         amount the person may approve
  influence    INTEGER,            -- @lww         1..5
  attitude     TEXT,               -- @lww         champion|friendly|neutral|opposed
  started_on   TEXT,               -- @immutable
  ended_on     TEXT,               -- @first       first report of the departure stays
  end_reason   TEXT,               -- @follows(ended_on)
  created_at   INTEGER,            -- @immutable
  created_by   TEXT                -- @immutable
);

-- @table scope=via(account_id) delete=edit_wins
CREATE TABLE relationship (        -- between customers, and between people inside or across customers
  id           TEXT PRIMARY KEY,   -- @id          uuid5(from_id, to_id, kind)
  from_type    TEXT,               -- @immutable   account|contact
  from_id      TEXT,               -- @immutable @ref(from_type)
  to_type      TEXT,               -- @immutable
  to_id        TEXT,               -- @immutable @ref(to_type)
  kind         TEXT,               -- @immutable   parent|subsidiary|supplies|partner|referred|reports_to|colleague|family|influences
  strength     INTEGER,            -- @lww         1..5
  account_id   TEXT REFERENCES account(id), -- @immutable   for scope
  started_on   TEXT,               -- @min
  ended_on     TEXT,               -- @first
  note         TEXT,               -- @text3
  created_at   INTEGER,            -- @immutable
  created_by   TEXT                -- @immutable
);

-- @table scope=via(parent_type, parent_id) delete=edit_wins
CREATE TABLE team_member (         -- who works on a record: account team, team selling, project role, or a share
  id           TEXT PRIMARY KEY,   -- @id          uuid5(parent_type, parent_id, user_id)
  parent_type  TEXT,               -- @immutable   account|opportunity|project|service_case
  parent_id    TEXT,               -- @immutable @ref(parent_type)
  account_id   TEXT REFERENCES account(id), -- @immutable
  user_id      TEXT REFERENCES user(id), -- @immutable
  role         TEXT,               -- @lww         owner|sales|presales|engineer|project_manager|viewer
  access       TEXT DEFAULT 'read',-- @authority(hq>branch_manager>rep)  read|write
  created_at   INTEGER,            -- @immutable
  created_by   TEXT                -- @immutable
);

-- ───────────── sales (7) ─────────────

-- @table scope=row(owner_id, org_unit_id, id) delete=edit_wins
CREATE TABLE lead (
  id           TEXT PRIMARY KEY,   -- @id
  name         TEXT,               -- @lww         person
  company      TEXT,               -- @lww
  title        TEXT,               -- @lww
  mobile       TEXT,               -- @key         same number captured twice = one lead
  email        TEXT,               -- @key(weak)
  channel      TEXT,               -- @first       web_form|social|email|survey|visit|phone|store|exhibition|partner|referral|database
  campaign_id  TEXT REFERENCES campaign(id), -- @first
  interest     TEXT,               -- @text3       product, need, size, timing
  budget_minor INTEGER,            -- @lww
  score        INTEGER,            -- @max         best qualification seen
  status       TEXT DEFAULT 'new', -- @state(lead)
  disqualified_reason TEXT,        -- @lww
  owner_id     TEXT REFERENCES user(id), -- @claim(hq>branch_manager>rep>server)  two reps take it: the earlier keeps it; a manager overrides
  org_unit_id  TEXT REFERENCES org_unit(id), -- @follows(owner_id)
  account_id   TEXT REFERENCES account(id), -- @first       what it was converted to
  contact_id   TEXT REFERENCES contact(id), -- @first
  opportunity_id TEXT REFERENCES opportunity(id), -- @first
  converted_at INTEGER,            -- @min
  tags         TEXT DEFAULT '[]',  -- @set
  custom       TEXT DEFAULT '{}',  -- @map
  created_at   INTEGER,            -- @immutable
  created_by   TEXT                -- @immutable
);

-- @table scope=via(account_id) row(owner_id, id) delete=restrict
CREATE TABLE opportunity (
  id           TEXT PRIMARY KEY,   -- @id
  account_id   TEXT REFERENCES account(id), -- @lww
  product_id   TEXT REFERENCES product(id), -- @lww         what it is mainly about; the quote's lines say it exactly
  name         TEXT,               -- @lww
  lead_id      TEXT REFERENCES lead(id), -- @first
  campaign_id  TEXT REFERENCES campaign(id), -- @first
  stage        TEXT DEFAULT 'prospecting', -- @state(opportunity)
  probability  INTEGER,            -- @follows(stage)  value written together with the winning stage
  lost_reason  TEXT,               -- @follows(stage)
  closed_on    TEXT,               -- @follows(stage)
  forecast_category TEXT DEFAULT 'pipeline', -- @lww  pipeline|best_case|commit|omitted ('closed' is derived from the stage)
  amount_minor INTEGER,            -- @group(amount)
  currency     TEXT DEFAULT 'CNY', -- @group(amount)
  fx_rate      REAL DEFAULT 1,     -- @group(amount)
  opened_on    TEXT,               -- @min         when work on it began, whoever remembers the earliest
  expected_close_on TEXT,          -- @lww
  next_step    TEXT,               -- @lww
  requirements TEXT,               -- @text3       what the customer asked for, promises made
  owner_id     TEXT REFERENCES user(id), -- @claim(hq>branch_manager>rep)
  org_unit_id  TEXT REFERENCES org_unit(id), -- @follows(owner_id)
  tags         TEXT DEFAULT '[]',  -- @set
  custom       TEXT DEFAULT '{}',  -- @map
  created_at   INTEGER,            -- @immutable
  created_by   TEXT                -- @immutable
);

-- @table scope=via(account_id) via(parent_type, parent_id) delete=forbid append
CREATE TABLE stage_history (       -- one row per move, written with the move
  id           TEXT PRIMARY KEY,   -- @id
  parent_type  TEXT,               -- @append      lead|opportunity|quote|sales_order|service_case|project
  parent_id    TEXT,               -- @append @ref(parent_type)
  account_id   TEXT REFERENCES account(id), -- @append
  from_stage   TEXT,               -- @append
  to_stage     TEXT,               -- @append
  amount_minor INTEGER,            -- @append      amount and close date as they stood
  expected_close_on TEXT,          -- @append
  occurred_at  INTEGER,            -- @append
  user_id      TEXT                -- @append
);

-- @table scope=all delete=edit_wins
CREATE TABLE competitor (          -- open to everyone in the organisation
  id           TEXT PRIMARY KEY,   -- @id
  name         TEXT,               -- @key
  website      TEXT,               -- @lww
  products     TEXT DEFAULT '[]',  -- @set
  strengths    TEXT,               -- @text3
  weaknesses   TEXT,               -- @text3
  strategy     TEXT,               -- @text3       how we sell against it
  threat_level INTEGER,            -- @max
  custom       TEXT DEFAULT '{}',  -- @map
  created_at   INTEGER,            -- @immutable
  created_by   TEXT                -- @immutable
);

-- @table scope=via(account_id) delete=edit_wins
CREATE TABLE opportunity_competitor (
  id           TEXT PRIMARY KEY,   -- @id          uuid5(opportunity_id, competitor_id)
  opportunity_id TEXT REFERENCES opportunity(id), -- @immutable
  competitor_id TEXT REFERENCES competitor(id), -- @immutable
  account_id   TEXT REFERENCES account(id), -- @immutable
  offer_minor  INTEGER,            -- @lww         price heard
  position     TEXT,               -- @lww         ahead|level|behind
  outcome      TEXT,               -- @first       won|lost
  note         TEXT,               -- @text3
  created_at   INTEGER,            -- @immutable
  created_by   TEXT                -- @immutable
);

-- @table scope=all delete=restrict
CREATE TABLE product (             -- catalogue and price list; written by head office or the ERP only
  id           TEXT PRIMARY KEY,   -- @id
  code         TEXT,               -- @key
  name         TEXT,               -- @authority(connector>hq)
  category     TEXT,               -- @authority(connector>hq)
  series       TEXT,               -- @authority(connector>hq)
  unit         TEXT,               -- @authority(connector>hq)
  price_minor  INTEGER,            -- @authority(connector>hq)
  tier_prices  TEXT DEFAULT '{}',  -- @authority(connector>hq) JSON {"A":..,"B":..}: price policy per account tier
  cost_minor   INTEGER,            -- @authority(connector>hq) @mask(branch_manager, finance, hq, connector)
  currency     TEXT DEFAULT 'CNY', -- @authority(connector>hq)
  valid_from_on TEXT,              -- @authority(connector>hq)
  active       INTEGER DEFAULT 1,  -- @authority(connector>hq)
  erp_id       TEXT,               -- @authority(connector)
  created_at   INTEGER             -- @immutable
);

-- @table scope=row(user_id, org_unit_id) delete=forbid
CREATE TABLE forecast (            -- one row per person and quarter; closed/expected/best case are computed
  id           TEXT PRIMARY KEY,   -- @id          uuid5(user_id, period)
  user_id      TEXT REFERENCES user(id), -- @immutable
  org_unit_id  TEXT REFERENCES org_unit(id), -- @authority(hq)
  period       TEXT,               -- @immutable   '2026Q4'
  quota_minor  INTEGER,            -- @authority(hq>branch_manager)
  commit_override_minor INTEGER,   -- @authority(branch_manager>rep)   judgement over the computed figure
  best_override_minor INTEGER,     -- @authority(branch_manager>rep)
  note         TEXT,               -- @text3
  submitted_at INTEGER,            -- @max
  created_at   INTEGER             -- @immutable
);

-- ───────────── quote to cash (5) ─────────────

-- @table scope=via(account_id) delete=restrict
CREATE TABLE quote (               -- proposal and quotation answering an RFP
  id           TEXT PRIMARY KEY,   -- @id
  account_id   TEXT REFERENCES account(id), -- @lww frozen(sent)
  opportunity_id TEXT REFERENCES opportunity(id), -- @lww frozen(sent)
  contact_id   TEXT REFERENCES contact(id), -- @lww frozen(sent)
  number       TEXT,               -- @server      given on first sync; until then the app shows 'draft'
  version      INTEGER DEFAULT 1,  -- @immutable   a revision is a new row
  supersedes_id TEXT REFERENCES quote(id), -- @immutable
  status       TEXT DEFAULT 'draft', -- @state(quote)
  rfp_due_on   TEXT,               -- @lww
  rfp_requirements TEXT,           -- @text3
  proposal     TEXT,               -- @text3 frozen(sent)
  valid_until_on TEXT,             -- @lww frozen(sent)
  discount_pct REAL DEFAULT 0,     -- @lww frozen(sent)
  currency     TEXT DEFAULT 'CNY', -- @lww frozen(sent)
  sent_at      INTEGER,            -- @first
  owner_id     TEXT REFERENCES user(id), -- @claim(hq>branch_manager>rep)
  custom       TEXT DEFAULT '{}',  -- @map
  created_at   INTEGER,            -- @immutable
  created_by   TEXT                -- @immutable
);

-- @table scope=via(account_id) delete=forbid
CREATE TABLE sales_order (         -- order or contract
  id           TEXT PRIMARY KEY,   -- @id
  account_id   TEXT REFERENCES account(id), -- @lww frozen(confirmed)
  opportunity_id TEXT REFERENCES opportunity(id), -- @lww
  quote_id     TEXT REFERENCES quote(id), -- @first       one order per accepted quote
  number       TEXT,               -- @server
  kind         TEXT DEFAULT 'order', -- @immutable order|contract
  status       TEXT DEFAULT 'draft', -- @state(sales_order)
  ordered_on   TEXT,               -- @lww frozen(confirmed)
  contract_start_on TEXT,          -- @group(term) frozen(confirmed)
  contract_end_on TEXT,            -- @group(term) frozen(confirmed)
  currency     TEXT DEFAULT 'CNY', -- @lww frozen(confirmed)
  discount_pct REAL DEFAULT 0,     -- @lww frozen(confirmed)
  deliver_by_on TEXT,              -- @lww
  signed_by    TEXT,               -- @first
  signed_at    INTEGER,            -- @follows(signed_by)
  terms        TEXT,               -- @text3 frozen(confirmed)
  erp_id       TEXT,               -- @authority(connector)
  owner_id     TEXT REFERENCES user(id), -- @claim(hq>branch_manager>rep)
  org_unit_id  TEXT REFERENCES org_unit(id), -- @follows(owner_id)
  custom       TEXT DEFAULT '{}',  -- @map
  created_at   INTEGER,            -- @immutable
  created_by   TEXT                -- @immutable
);

-- @table scope=via(parent_type, parent_id) delete=delete_wins
CREATE TABLE line_item (           -- of a quote or an order
  id           TEXT PRIMARY KEY,   -- @id
  parent_type  TEXT,               -- @immutable   quote|sales_order
  parent_id    TEXT,               -- @immutable @ref(parent_type)
  account_id   TEXT REFERENCES account(id), -- @immutable
  position     INTEGER,            -- @lww
  product_id   TEXT REFERENCES product(id), -- @group(line) frozen(parent)
  quantity     REAL,               -- @group(line) frozen(parent)
  unit_price_minor INTEGER,        -- @group(line) frozen(parent)
  discount_pct REAL DEFAULT 0,     -- @group(line) frozen(parent)
  description  TEXT,               -- @lww frozen(parent)
  created_at   INTEGER,            -- @immutable
  created_by   TEXT                -- @immutable
);

-- @table scope=via(account_id) delete=forbid append
CREATE TABLE payment (             -- money received; corrected by a reversing row, never edited
  id           TEXT PRIMARY KEY,   -- @id
  sales_order_id TEXT REFERENCES sales_order(id), -- @append
  account_id   TEXT REFERENCES account(id), -- @append
  receipt_no   TEXT,               -- @key         the same receipt entered twice is one payment
  method       TEXT,               -- @append      cash|bank_transfer|cheque|card|wechat|alipay
  amount_minor INTEGER,            -- @append      negative = reversal or refund
  currency     TEXT DEFAULT 'CNY', -- @append
  received_at  INTEGER,            -- @append
  handled_by   TEXT REFERENCES user(id), -- @append      user
  bank_account TEXT,               -- @append @mask(finance, hq)
  reverses_id  TEXT REFERENCES payment(id), -- @append
  status       TEXT DEFAULT 'recorded', -- @authority(finance)  recorded|confirmed|rejected
  confirmed_by TEXT REFERENCES user(id), -- @authority(finance)
  confirmed_at INTEGER,            -- @authority(finance)
  note         TEXT,               -- @append
  created_at   INTEGER,            -- @append
  created_by   TEXT                -- @append
);

-- @table scope=via(account_id) delete=forbid
CREATE TABLE delivery (            -- shipment, hand-over or installation
  id           TEXT PRIMARY KEY,   -- @id
  sales_order_id TEXT REFERENCES sales_order(id), -- @immutable
  account_id   TEXT REFERENCES account(id), -- @immutable
  kind         TEXT,               -- @immutable   shipment|installation|handover
  number       TEXT,               -- @server
  status       TEXT DEFAULT 'planned', -- @state(delivery)
  planned_on   TEXT,               -- @lww
  carrier      TEXT,               -- @lww
  tracking_no  TEXT,               -- @lww
  handled_by   TEXT REFERENCES user(id), -- @lww
  delivered_at INTEGER,            -- @min
  signed_by    TEXT,               -- @first
  signed_at    INTEGER,            -- @follows(signed_by)
  line_quantities TEXT DEFAULT '{}', -- @map       {line_item_id: quantity}
  note         TEXT,               -- @text3
  created_at   INTEGER,            -- @immutable
  created_by   TEXT                -- @immutable
);

-- ───────────── work, service, marketing (5) ─────────────

-- @table scope=via(account_id) via(parent_type, parent_id) delete=forbid append
CREATE TABLE activity (            -- what happened with the customer: the history that must stay whole
  id           TEXT PRIMARY KEY,   -- @id
  account_id   TEXT REFERENCES account(id), -- @append
  contact_id   TEXT REFERENCES contact(id), -- @append
  parent_type  TEXT,               -- @append      lead|opportunity|service_case|sales_order|project|campaign|NULL
  parent_id    TEXT,               -- @append @ref(parent_type)
  kind         TEXT,               -- @append      visit|call|email|meeting|demo|chat|note|survey|expense|correction
  channel      TEXT,               -- @append      face_to_face|phone|email|web|wechat|social|store|call_centre|distributor
  direction    TEXT,               -- @append      in|out
  occurred_at  INTEGER,            -- @append
  duration_min INTEGER,            -- @append
  subject      TEXT,               -- @append
  body         TEXT,               -- @append      what was said
  result       TEXT,               -- @append      outcome of the follow-up
  commitments  TEXT,               -- @append      what was promised
  next_step    TEXT,               -- @append
  amount_minor INTEGER,            -- @append      for kind=expense
  latitude     REAL,               -- @append      check-in place
  longitude    REAL,               -- @append
  message_id   TEXT,               -- @key         mail or chat id, so an import never doubles it
  corrects_id  TEXT REFERENCES activity(id), -- @append      a correction is a new row that points at the old one
  user_id      TEXT REFERENCES user(id), -- @append
  org_unit_id  TEXT REFERENCES org_unit(id), -- @append
  custom       TEXT DEFAULT '{}',  -- @append
  created_at   INTEGER             -- @append
);

-- @table scope=row(assignee_id, created_by) via(account_id) delete=edit_wins
CREATE TABLE task (                -- to-do, reminder, appointment, service task, milestone
  id           TEXT PRIMARY KEY,   -- @id          recurring: uuid5(series_id, occurrence date)
  kind         TEXT DEFAULT 'todo',-- @immutable   todo|reminder|call|visit|meeting|service|milestone
  subject      TEXT,               -- @lww
  account_id   TEXT REFERENCES account(id), -- @lww
  contact_id   TEXT REFERENCES contact(id), -- @lww
  parent_type  TEXT,               -- @lww
  parent_id    TEXT,               -- @lww @ref(parent_type)
  assignee_id  TEXT REFERENCES user(id), -- @claim(hq>branch_manager>rep)
  start_at     INTEGER,            -- @group(when)
  end_at       INTEGER,            -- @group(when)
  due_on       TEXT,               -- @lww
  remind_at    INTEGER,            -- @lww
  recurrence   TEXT,               -- @lww         RFC 5545 RRULE on the series row
  series_id    TEXT REFERENCES task(id), -- @immutable
  priority     INTEGER DEFAULT 2,  -- @max         1 low .. 4 urgent
  status       TEXT DEFAULT 'open',-- @state(task)
  progress_pct INTEGER DEFAULT 0,  -- @max
  completed_at INTEGER,            -- @min
  completed_by TEXT REFERENCES user(id), -- @first
  description  TEXT,               -- @text3
  created_at   INTEGER,            -- @immutable
  created_by   TEXT                -- @immutable
);

-- @table scope=via(account_id) delete=forbid
CREATE TABLE service_case (        -- feedback, complaint, service request
  id           TEXT PRIMARY KEY,   -- @id
  number       TEXT,               -- @server
  kind         TEXT,               -- @lww         feedback|complaint|request|installation|question
  account_id   TEXT REFERENCES account(id), -- @lww
  contact_id   TEXT REFERENCES contact(id), -- @lww
  product_id   TEXT REFERENCES product(id), -- @lww
  sales_order_id TEXT REFERENCES sales_order(id), -- @lww
  channel      TEXT,               -- @first
  message_id   TEXT,               -- @key         mail that opened it
  subject      TEXT,               -- @lww
  description  TEXT,               -- @text3
  priority     INTEGER DEFAULT 2,  -- @max
  status       TEXT DEFAULT 'new', -- @state(service_case)
  escalation   INTEGER DEFAULT 0,  -- @max         escalation level reached
  assignee_id  TEXT REFERENCES user(id), -- @claim(hq>branch_manager>engineer>server)
  org_unit_id  TEXT REFERENCES org_unit(id), -- @follows(assignee_id)
  opened_at    INTEGER,            -- @immutable
  first_response_at INTEGER,       -- @min
  respond_by_at INTEGER,           -- @server      service level
  resolved_at  INTEGER,            -- @follows(status)
  resolution   TEXT,               -- @text3
  reopen_count INTEGER DEFAULT 0,  -- @counter
  satisfaction INTEGER,            -- @lww         1..5, the customer's latest answer
  custom       TEXT DEFAULT '{}',  -- @map
  created_at   INTEGER,            -- @immutable
  created_by   TEXT                -- @immutable
);

-- @table scope=row(org_unit_id, owner_id) delete=restrict
CREATE TABLE campaign (            -- promotion, event, customer care, mail shot, advertising
  id           TEXT PRIMARY KEY,   -- @id
  name         TEXT,               -- @lww
  kind         TEXT,               -- @lww         email|social|online_ad|phone|exhibition|seminar|customer_care
  status       TEXT DEFAULT 'planned', -- @state(campaign)
  org_unit_id  TEXT REFERENCES org_unit(id), -- @authority(hq>branch_manager)
  owner_id     TEXT REFERENCES user(id), -- @claim(hq>branch_manager>marketing)
  starts_on    TEXT,               -- @group(when)
  ends_on      TEXT,               -- @group(when)
  budget_minor INTEGER,            -- @authority(hq>branch_manager)
  target       TEXT,               -- @text3       segment addressed
  reached_count INTEGER DEFAULT 0, -- @counter     hand tally at a stand or shop
  tags         TEXT DEFAULT '[]',  -- @set
  created_at   INTEGER,            -- @immutable
  created_by   TEXT                -- @immutable
);

-- @table scope=via(campaign_id) delete=edit_wins
CREATE TABLE campaign_member (
  id           TEXT PRIMARY KEY,   -- @id          uuid5(campaign_id, member_id)
  campaign_id  TEXT REFERENCES campaign(id), -- @immutable
  member_type  TEXT,               -- @immutable   lead|contact|account
  member_id    TEXT,               -- @immutable @ref(member_type)
  account_id   TEXT REFERENCES account(id), -- @immutable
  status       TEXT DEFAULT 'targeted', -- @state(campaign_member)
  responded_at INTEGER,            -- @min
  message      TEXT,               -- @lww         personalised content sent
  created_at   INTEGER             -- @immutable
);

-- ───────────── projects and content (3) ─────────────

-- @table scope=via(account_id) delete=restrict
CREATE TABLE project (             -- delivery project started from a won deal (CRM + PM)
  id           TEXT PRIMARY KEY,   -- @id
  account_id   TEXT REFERENCES account(id), -- @immutable
  sales_order_id TEXT REFERENCES sales_order(id), -- @first
  name         TEXT,               -- @lww
  status       TEXT DEFAULT 'planned', -- @state(project)
  manager_id   TEXT REFERENCES user(id), -- @authority(hq>branch_manager)
  starts_on    TEXT,               -- @group(when)
  ends_on      TEXT,               -- @group(when)
  budget_minor INTEGER,            -- @authority(hq>branch_manager)   cost so far = sum of expense activities
  description  TEXT,               -- @text3
  custom       TEXT DEFAULT '{}',  -- @map
  created_at   INTEGER,            -- @immutable
  created_by   TEXT                -- @immutable
);

-- @table scope=all delete=edit_wins
CREATE TABLE knowledge_article (   -- shared knowledge, announcements, selling cases, product literature
  id           TEXT PRIMARY KEY,   -- @id
  kind         TEXT,               -- @lww         faq|selling_case|announcement|product|white_paper|template|script|policy
  title        TEXT,               -- @lww
  body         TEXT,               -- @text3
  product_id   TEXT REFERENCES product(id), -- @lww
  stage        TEXT,               -- @lww         pipeline stage it helps with
  published    INTEGER DEFAULT 0,  -- @authority(hq>branch_manager>marketing)
  published_at INTEGER,            -- @min
  tags         TEXT DEFAULT '[]',  -- @set
  view_count   INTEGER DEFAULT 0,  -- @counter
  helpful_count INTEGER DEFAULT 0, -- @counter
  created_at   INTEGER,            -- @immutable
  created_by   TEXT                -- @immutable
);

-- @table scope=via(parent_type, parent_id) delete=edit_wins
CREATE TABLE attachment (          -- document, photo, recording; bytes travel apart, addressed by hash
  id           TEXT PRIMARY KEY,   -- @id
  parent_type  TEXT,               -- @immutable
  parent_id    TEXT,               -- @immutable @ref(parent_type)
  account_id   TEXT REFERENCES account(id), -- @immutable
  kind         TEXT,               -- @lww         brochure|presentation|proposal|contract|photo|recording|signature|price_list|other
  file_name    TEXT,               -- @lww
  mime_type    TEXT,               -- @immutable
  size_bytes   INTEGER,            -- @immutable
  sha256       TEXT,               -- @immutable   a new version is a new row
  supersedes_id TEXT REFERENCES attachment(id), -- @immutable
  created_at   INTEGER,            -- @immutable
  created_by   TEXT                -- @immutable
);

CREATE INDEX idx_contact_account   ON contact(account_id);
CREATE INDEX idx_activity_account  ON activity(account_id, occurred_at);
CREATE INDEX idx_activity_parent   ON activity(parent_type, parent_id, occurred_at);
CREATE INDEX idx_stage_parent      ON stage_history(parent_type, parent_id, occurred_at);
CREATE INDEX idx_opp_account       ON opportunity(account_id);
CREATE INDEX idx_opp_owner         ON opportunity(owner_id, stage);
CREATE INDEX idx_line_parent       ON line_item(parent_type, parent_id);
CREATE INDEX idx_payment_order     ON payment(sales_order_id);
CREATE INDEX idx_task_assignee     ON task(assignee_id, status, due_on);
CREATE INDEX idx_case_account      ON service_case(account_id, status);
CREATE INDEX idx_role_contact      ON contact_role(contact_id);
CREATE INDEX idx_rel_from          ON relationship(from_id);
CREATE INDEX idx_rel_to            ON relationship(to_id);
CREATE INDEX idx_account_scope     ON account(org_unit_id, owner_id);

-- ───────────── what the server reads ─────────────
-- Views over the tables above, evaluated by the server, again whenever a table they read changes.

-- Who may enrol devices, in which role.
CREATE VIEW satchel_users(login, id, role, active) AS
SELECT login, id, role, active FROM user;

-- Who may see what: everyone holds the own id, the own unit and all units below it, and the records shared with
-- the user.
CREATE VIEW satchel_grants(user, value) AS
WITH RECURSIVE below(user, unit) AS (
  SELECT id, org_unit_id FROM user WHERE org_unit_id IS NOT NULL
  UNION
  SELECT below.user, org_unit.id FROM below JOIN org_unit ON org_unit.parent_id = below.unit
)
SELECT id, id FROM user
UNION SELECT user, unit FROM below
UNION SELECT user_id, parent_id FROM team_member;

-- The state machines that @state(machine) columns move through.
CREATE VIEW satchel_states(machine, code, rank, closed, back_to) AS
SELECT machine, code, rank, is_closed, back_to FROM pipeline_stage;

-- Document numbers that the server gives to @server columns: one gap-free series per branch and year.
CREATE VIEW satchel_numbers(tbl, col, series, format) AS
SELECT 'quote', 'number', 'Q', 'Q-{branch}-{year}-{n:06}'
UNION ALL SELECT 'sales_order', 'number', 'SO', 'SO-{branch}-{year}-{n:06}'
UNION ALL SELECT 'delivery', 'number', 'DN', 'DN-{branch}-{year}-{n:06}'
UNION ALL SELECT 'service_case', 'number', 'C', 'C-{branch}-{year}-{n:06}';
