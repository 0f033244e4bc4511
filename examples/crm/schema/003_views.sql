-- Questions people ask every day, answered on the device from what it holds.

-- The value of an order: quantity x price less line and order discount (minor units, rounded per line).
CREATE VIEW v_order_balance AS
SELECT o.id, o.account_id, o.number, o.status,
  COALESCE((SELECT CAST(ROUND(SUM(ROUND(l.quantity * l.unit_price_minor * (1 - COALESCE(l.discount_pct, 0) / 100.0)))
                              * (1 - COALESCE(o.discount_pct, 0) / 100.0)) AS INTEGER)
            FROM line_item l WHERE l.parent_type = 'sales_order' AND l.parent_id = o.id), 0) AS total_minor,
  COALESCE((SELECT SUM(p.amount_minor) FROM payment p
            WHERE p.sales_order_id = o.id AND p.status <> 'rejected'), 0) AS received_minor,
  COALESCE((SELECT SUM(p.amount_minor) FROM payment p
            WHERE p.sales_order_id = o.id AND p.status = 'confirmed'), 0) AS confirmed_minor
FROM sales_order o;

-- The 360-degree timeline: everything that happened with a customer, by the time it happened.
CREATE VIEW v_account_timeline AS
SELECT account_id, occurred_at, 'activity' AS source, kind, id, user_id, COALESCE(subject, body) AS text FROM activity
UNION ALL
SELECT account_id, occurred_at, 'stage', parent_type, id, user_id, COALESCE(from_stage, '') || ' > ' || to_stage
FROM stage_history
UNION ALL
SELECT account_id, received_at, 'payment', method, id, handled_by, CAST(amount_minor AS TEXT) FROM payment
UNION ALL
SELECT account_id, delivered_at, 'delivery', kind, id, handled_by, status FROM delivery
WHERE delivered_at IS NOT NULL
UNION ALL
SELECT account_id, opened_at, 'case', kind, id, created_by, subject FROM service_case
UNION ALL
SELECT account_id, sent_at, 'quote', status, id, owner_id, number FROM quote WHERE sent_at IS NOT NULL
UNION ALL
SELECT account_id, completed_at, 'task', kind, id, completed_by, subject FROM task WHERE status = 'done'
UNION ALL
SELECT account_id, CAST(strftime('%s', started_on) AS INTEGER) * 1000, 'key_person', 'start', id, created_by, title
FROM contact_role
UNION ALL
SELECT account_id, CAST(strftime('%s', ended_on) AS INTEGER) * 1000, 'key_person', 'end', id, created_by, end_reason
FROM contact_role WHERE ended_on IS NOT NULL;

-- The 360-degree head: one row per customer, what to know before a visit.
CREATE VIEW v_account_360 AS
SELECT a.id, a.name, a.tier, a.owner_id, a.org_unit_id,
  (SELECT COUNT(*) FROM contact c WHERE c.account_id = a.id) AS contacts,
  (SELECT COUNT(*) FROM contact_role r WHERE r.account_id = a.id AND r.ended_on IS NULL
    AND EXISTS (SELECT 1 FROM json_each(r.roles) WHERE value = 'decision_maker')) AS decision_makers,
  (SELECT COUNT(*) FROM opportunity o JOIN pipeline_stage s ON s.id = 'opportunity:' || o.stage
    WHERE o.account_id = a.id AND s.is_closed = 0) AS open_opportunities,
  (SELECT COALESCE(SUM(o.amount_minor), 0) FROM opportunity o JOIN pipeline_stage s ON s.id = 'opportunity:' || o.stage
    WHERE o.account_id = a.id AND s.is_closed = 0) AS open_amount_minor,
  (SELECT COALESCE(SUM(b.total_minor), 0) FROM v_order_balance b
    WHERE b.account_id = a.id AND b.status NOT IN ('draft', 'cancelled')) AS ordered_minor,
  (SELECT COALESCE(SUM(b.total_minor - b.received_minor), 0) FROM v_order_balance b
    WHERE b.account_id = a.id AND b.status NOT IN ('draft', 'cancelled')) AS outstanding_minor,
  (SELECT COUNT(*) FROM service_case k
    WHERE k.account_id = a.id AND k.status NOT IN ('resolved', 'closed')) AS open_cases,
  (SELECT COUNT(*) FROM activity t WHERE t.account_id = a.id) AS activities,
  (SELECT MAX(t.occurred_at) FROM activity t WHERE t.account_id = a.id) AS last_activity_at
FROM account a;

-- The forecast per person and quarter: quota, closed, expected, best case. Computed, never synced: only what people
-- put over it (quota, overrides) is data.
CREATE VIEW v_forecast AS
WITH o AS (
  SELECT owner_id, forecast_category, s.is_won, s.is_closed,
    CAST(ROUND(amount_minor * COALESCE(fx_rate, 1)) AS INTEGER) AS amount,
    substr(day, 1, 4) || 'Q' || ((CAST(substr(day, 6, 2) AS INTEGER) + 2) / 3) AS period
  FROM (SELECT *, CASE WHEN stage = 'closed_won' THEN closed_on ELSE expected_close_on END AS day FROM opportunity) d
  JOIN pipeline_stage s ON s.id = 'opportunity:' || d.stage)
SELECT f.user_id, f.org_unit_id, f.period, f.quota_minor,
  COALESCE(SUM(CASE WHEN o.is_won = 1 THEN amount END), 0) AS closed_minor,
  COALESCE(f.commit_override_minor, SUM(CASE WHEN o.is_won = 1
    OR (o.is_closed = 0 AND forecast_category = 'commit') THEN amount END), 0) AS expected_minor,
  COALESCE(f.best_override_minor, SUM(CASE WHEN o.is_won = 1
    OR (o.is_closed = 0 AND forecast_category IN ('commit', 'best_case')) THEN amount END), 0) AS best_case_minor,
  ROUND(100.0 * COALESCE(SUM(CASE WHEN o.is_won = 1 THEN amount END), 0) / f.quota_minor, 1) AS quota_pct
FROM forecast f LEFT JOIN o ON o.owner_id = f.user_id AND o.period = f.period
GROUP BY f.id;

-- The same, rolled up by branch.
CREATE VIEW v_forecast_branch AS
SELECT org_unit_id, period, SUM(quota_minor) AS quota_minor, SUM(closed_minor) AS closed_minor,
  SUM(expected_minor) AS expected_minor, SUM(best_case_minor) AS best_case_minor,
  ROUND(100.0 * SUM(closed_minor) / SUM(quota_minor), 1) AS quota_pct
FROM v_forecast GROUP BY org_unit_id, period;

-- The path a record really took: its moves in time order. A move that lost a race is not effective and takes no time.
CREATE VIEW v_stage_path AS
WITH RECURSIVE h AS (
  SELECT s.*, ROW_NUMBER() OVER (PARTITION BY parent_type, parent_id ORDER BY occurred_at, id) AS n
  FROM stage_history s),
w(parent_type, parent_id, n, id, from_stage, to_stage, occurred_at, user_id, current, effective) AS (
  SELECT parent_type, parent_id, n, id, from_stage, to_stage, occurred_at, user_id, to_stage, 1 FROM h WHERE n = 1
  UNION ALL
  SELECT h.parent_type, h.parent_id, h.n, h.id, h.from_stage, h.to_stage, h.occurred_at, h.user_id,
    CASE WHEN h.from_stage = w.current OR pn.rank > pc.rank THEN h.to_stage ELSE w.current END,
    CASE WHEN h.from_stage = w.current OR pn.rank > pc.rank THEN 1 ELSE 0 END
  FROM w JOIN h ON h.parent_type = w.parent_type AND h.parent_id = w.parent_id AND h.n = w.n + 1
  JOIN pipeline_stage pn ON pn.id = h.parent_type || ':' || h.to_stage
  JOIN pipeline_stage pc ON pc.id = h.parent_type || ':' || w.current)
SELECT parent_type, parent_id, id, from_stage, to_stage, occurred_at, user_id, effective FROM w;

-- Days per stage; left_at NULL: still there.
CREATE VIEW v_stage_duration AS
SELECT parent_type, parent_id, to_stage AS stage, occurred_at AS entered_at, user_id,
  LEAD(occurred_at) OVER next AS left_at,
  ROUND((LEAD(occurred_at) OVER next - occurred_at) / 86400000.0, 2) AS days
FROM v_stage_path WHERE effective = 1
WINDOW next AS (PARTITION BY parent_type, parent_id ORDER BY occurred_at, id);

CREATE VIEW v_pipeline_funnel AS
SELECT s.code AS stage, s.rank, COUNT(o.id) AS count, COALESCE(SUM(o.amount_minor), 0) AS amount_minor,
  COALESCE(SUM(CAST(o.amount_minor * COALESCE(o.probability, s.probability) / 100 AS INTEGER)), 0) AS weighted_minor
FROM pipeline_stage s LEFT JOIN opportunity o ON o.stage = s.code
WHERE s.machine = 'opportunity' GROUP BY s.id ORDER BY s.rank;

-- Who held which post at a customer, and where they are now.
CREATE VIEW v_key_person_history AS
SELECT r.account_id, r.contact_id, c.name, r.title, r.roles, r.started_on, r.ended_on, r.end_reason,
  (SELECT group_concat(a.name, ', ') FROM contact_role r2 JOIN account a ON a.id = r2.account_id
    WHERE r2.contact_id = r.contact_id AND r2.ended_on IS NULL) AS now_at
FROM contact_role r LEFT JOIN contact c ON c.id = r.contact_id;

-- 20/80: the share of confirmed revenue, best customers first.
CREATE VIEW v_customer_value AS
SELECT a.id, a.name, a.tier, SUM(p.amount_minor) AS revenue_minor,
  ROUND(100.0 * SUM(SUM(p.amount_minor)) OVER (ORDER BY SUM(p.amount_minor) DESC, a.id)
        / SUM(SUM(p.amount_minor)) OVER (), 1) AS cumulative_pct
FROM account a JOIN payment p ON p.account_id = a.id AND p.status = 'confirmed' GROUP BY a.id;

CREATE VIEW v_competitor_record AS
SELECT c.id, c.name, SUM(oc.outcome = 'won') AS lost_to_them, SUM(o.stage = 'closed_won') AS won_against_them,
  COUNT(*) AS met
FROM competitor c JOIN opportunity_competitor oc ON oc.competitor_id = c.id
JOIN opportunity o ON o.id = oc.opportunity_id GROUP BY c.id;

CREATE VIEW v_campaign_result AS
SELECT m.id, m.name, m.budget_minor, m.reached_count,
  (SELECT COALESCE(SUM(amount_minor), 0) FROM activity
    WHERE parent_type = 'campaign' AND parent_id = m.id AND kind = 'expense') AS cost_minor,
  (SELECT COUNT(*) FROM campaign_member x WHERE x.campaign_id = m.id) AS targeted,
  (SELECT COUNT(*) FROM campaign_member x
    WHERE x.campaign_id = m.id AND x.status IN ('responded', 'converted')) AS responded,
  (SELECT COUNT(*) FROM lead l WHERE l.campaign_id = m.id) AS leads,
  (SELECT COALESCE(SUM(o.amount_minor), 0) FROM opportunity o
    WHERE o.campaign_id = m.id AND o.stage = 'closed_won') AS won_minor
FROM campaign m;

-- Whether a case was answered in the time promised; 'waiting': not answered yet.
CREATE VIEW v_case_service_level AS
SELECT id, number, kind, status, priority, assignee_id, opened_at, first_response_at,
  (first_response_at - opened_at) / 60000 AS response_min, (resolved_at - opened_at) / 60000 AS resolve_min,
  CASE WHEN respond_by_at IS NULL THEN NULL WHEN first_response_at IS NULL THEN 'waiting'
       WHEN first_response_at <= respond_by_at THEN 'met' ELSE 'missed' END AS level, satisfaction
FROM service_case;

CREATE VIEW v_rep_scorecard AS
SELECT u.id, u.name,
  (SELECT COUNT(*) FROM activity a WHERE a.user_id = u.id) AS activities,
  (SELECT COUNT(*) FROM activity a WHERE a.user_id = u.id AND a.kind = 'visit') AS visits,
  (SELECT COUNT(*) FROM lead l WHERE l.owner_id = u.id) AS leads,
  (SELECT COUNT(*) FROM lead l WHERE l.owner_id = u.id AND l.status = 'converted') AS converted,
  (SELECT COUNT(*) FROM opportunity o WHERE o.owner_id = u.id AND o.stage = 'closed_won') AS won,
  (SELECT COALESCE(SUM(o.amount_minor), 0) FROM opportunity o
    WHERE o.owner_id = u.id AND o.stage = 'closed_won') AS won_minor,
  (SELECT COUNT(*) FROM task t WHERE t.assignee_id = u.id AND t.status NOT IN ('done', 'cancelled')) AS open_tasks
FROM user u;

-- Weak keys suggest, a person decides.
CREATE VIEW v_duplicate_suggestion AS
SELECT a.id AS id_1, b.id AS id_2, 'contact' AS kind,
  CASE WHEN a.mobile = b.mobile THEN 'mobile' ELSE 'email' END AS because
FROM contact a JOIN contact b ON a.id < b.id AND (a.mobile = b.mobile OR a.email = b.email);

CREATE VIEW v_open_reminder AS
SELECT id, assignee_id, kind, subject, account_id, due_on, remind_at FROM task
WHERE status IN ('open', 'in_progress') AND remind_at IS NOT NULL;

CREATE VIEW v_project_status AS
SELECT p.id, p.name, p.status, p.budget_minor,
  (SELECT COALESCE(SUM(amount_minor), 0) FROM activity
    WHERE parent_type = 'project' AND parent_id = p.id AND kind = 'expense') AS cost_minor,
  (SELECT COUNT(*) FROM task t
    WHERE t.parent_type = 'project' AND t.parent_id = p.id AND t.kind = 'milestone') AS milestones,
  (SELECT COUNT(*) FROM task t WHERE t.parent_type = 'project' AND t.parent_id = p.id
    AND t.kind = 'milestone' AND t.status = 'done') AS milestones_done,
  (SELECT COUNT(*) FROM activity
    WHERE parent_type = 'project' AND parent_id = p.id AND kind <> 'expense') AS feedback
FROM project p;
