-- The first rows: head office and the person who sets everything else up from there.
INSERT INTO org_unit(id, kind, code, name, created_at)
VALUES ('head-office', 'head_office', 'HQ', 'Head office', 1759968000000);

INSERT INTO user(id, login, name, role, org_unit_id, created_at)
VALUES ('head-office', 'hq', 'Head office', 'hq', 'head-office', 1759968000000);
