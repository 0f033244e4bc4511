"""A column that only some roles may see: real processes, what stands in their files, and roles that change."""
import json
import unittest

import harness

SCHEMA = """
-- @table scope=all delete=forbid
CREATE TABLE person(id TEXT PRIMARY KEY, login TEXT, role TEXT, active INTEGER DEFAULT 1);
-- @table scope=all delete=edit_wins
CREATE TABLE product(id TEXT PRIMARY KEY, name TEXT,
  cost TEXT DEFAULT 'unknown', -- @lww @mask(hq, finance)
  supplier TEXT,               -- @group(source) @mask(hq)
  contract TEXT,               -- @group(source) @mask(hq)
  stock INTEGER DEFAULT 0,     -- @counter @mask(hq, finance)
  price INTEGER
);
-- @table scope=row(owner) delete=edit_wins
CREATE TABLE payment(id TEXT PRIMARY KEY, owner TEXT, amount INTEGER,
  bank TEXT -- @append @mask(finance)
);
CREATE VIEW satchel_users(login, id, role, active) AS SELECT login, id, role, active FROM person;
CREATE VIEW satchel_grants(user, value) AS
  SELECT id, id FROM person UNION SELECT p.id, q.id FROM person p, person q WHERE p.role IN ('hq', 'finance');
INSERT INTO person(id, login, role) VALUES('rep', 'rep', 'rep'), ('ann', 'ann', 'rep'), ('hq', 'hq', 'hq'),
  ('fin', 'fin', 'finance');
"""
PRODUCT = "SELECT name, cost, supplier, stock FROM product ORDER BY id"
MASKED = {"cost": "unknown", "supplier": None, "stock": 0}


class Masks(harness.SatchelTest):
    users = ()

    def setUp(self):
        self.schema = SCHEMA
        super().setUp()
        self.hq, self.fin, self.rep = self.join("hq"), self.join("fin"), self.join("rep")
        self.everybody = (self.hq, self.fin, self.rep)

    def file_bytes(self, replica):
        return b"".join(path.read_bytes() for path in self.folder.glob(replica.name + "*"))

    def fields_in_history(self, replica, table, key):
        return {write["field"] for write in json.loads(self.satchel("history", replica, table, key, "--json"))}

    def make_product(self):
        self.sql(self.hq, "INSERT INTO product VALUES('p1', 'Press', 'cost-8811', 'supplier-7722', 'contract-6633', 5, 900)")
        self.sync_all(*self.everybody, rounds=1)

    def assert_verified(self, *replicas):
        for replica in replicas:
            self.satchel("verify", replica)

    def test_who_may_not_see_a_column_is_not_sent_it(self):
        self.make_product()
        self.sql(self.hq, "UPDATE product SET cost='cost-9911', stock=stock+2; UPDATE product SET price=950")
        self.sync_all(*self.everybody, rounds=1)
        self.assertEqual(self.sql(self.rep, PRODUCT), [{"name": "Press"} | MASKED])
        self.assertEqual(self.sql(self.rep, "SELECT price FROM product"), [{"price": 950}])
        self.assertEqual(self.sql(self.fin, PRODUCT),
                         [{"name": "Press", "cost": "cost-9911", "supplier": None, "stock": 7}])
        self.assertEqual(self.fields_in_history(self.rep, "product", "p1"), {"name", "price"})
        self.assertEqual(self.fields_in_history(self.fin, "product", "p1"), {"name", "price", "cost", "stock"})
        for secret in (b"cost-8811", b"cost-9911", b"supplier-7722", b"contract-6633"):
            self.assertNotIn(secret, self.file_bytes(self.rep))
            self.assertIn(secret, self.file_bytes(self.hq))
        for secret in (b"supplier-7722", b"contract-6633"):
            self.assertNotIn(secret, self.file_bytes(self.fin))
        self.assert_verified(*self.everybody)
        self.assertEqual(self.sync(self.rep)["pulled_entries"], 0)

    def test_conflicts_of_it_are_told_to_who_sees_it(self):
        self.make_product()
        self.sql(self.hq, "UPDATE product SET cost='from-hq', name='Press 2'")
        self.sql(self.fin, "UPDATE product SET cost='from-fin', name='Press 3'")
        self.sync_all(*self.everybody)
        conflicts = "SELECT field FROM satchel_conflicts ORDER BY field"
        self.assertEqual(self.sql(self.rep, conflicts), [{"field": "name"}])
        self.assertEqual(self.sql(self.fin, conflicts), [{"field": "cost"}, {"field": "name"}])
        self.assertNotIn(b"from-", self.file_bytes(self.rep))
        self.assert_verified(*self.everybody)

    def test_who_may_write_what_he_may_not_see_has_seen_nothing_of_it(self):
        self.make_product()
        self.sql(self.rep, "UPDATE product SET cost='guess-1', price=7 WHERE id='p1';"
                           "INSERT INTO payment VALUES('y1', 'rep', 100, 'IBAN-5544')")
        self.assertEqual(self.sql(self.rep, "SELECT cost, price FROM product"), [{"cost": "guess-1", "price": 7}])
        self.sync_all(*self.everybody)
        # His write won, as the later one, over one that he had not seen: a conflict for who may see it.
        self.assertEqual(self.sql(self.fin, "SELECT cost, price FROM product"), [{"cost": "guess-1", "price": 7}])
        self.assertEqual(self.sql(self.fin, "SELECT field FROM satchel_conflicts"), [{"field": "cost"}])
        self.assertEqual(self.sql(self.fin, "SELECT bank FROM payment"), [{"bank": "IBAN-5544"}])
        self.assertEqual(self.sql(self.rep, "SELECT cost, price FROM product"), [{"cost": "unknown", "price": 7}])
        self.assertEqual(self.sql(self.rep, "SELECT amount, bank FROM payment"), [{"amount": 100, "bank": None}])
        self.assertEqual(self.sql(self.rep, "SELECT count(*) AS n FROM satchel_conflicts"), [{"n": 0}])
        self.assert_verified(*self.everybody)
        second = self.join("rep", name="second.db")
        self.sync(second)
        self.assertNotIn(b"IBAN-5544", self.file_bytes(second))
        self.assertEqual(self.sql(second, "SELECT amount, bank FROM payment"), [{"amount": 100, "bank": None}])
        self.assert_verified(second)

    def test_a_role_that_changes_takes_columns_away_and_gives_them(self):
        self.make_product()
        self.sql(self.rep, "INSERT INTO payment VALUES('y1', 'rep', 100, 'IBAN-5544')")
        self.sync_all(*self.everybody)
        self.admin("workspace", "set", "w", "person", "rep", "role=finance")
        self.sync(self.rep)
        self.assertEqual(self.sql(self.rep, PRODUCT),
                         [{"name": "Press", "cost": "cost-8811", "supplier": None, "stock": 5}])
        self.assertEqual(self.sql(self.rep, "SELECT bank FROM payment"), [{"bank": "IBAN-5544"}])
        self.assertEqual(self.fields_in_history(self.rep, "product", "p1"), {"name", "price", "cost", "stock"})
        self.assert_verified(self.rep)
        self.admin("workspace", "set", "w", "person", "rep", "role=rep")
        self.sync(self.rep)
        self.assertEqual(self.sql(self.rep, PRODUCT), [{"name": "Press"} | MASKED])
        self.assertEqual(self.sql(self.rep, "SELECT bank FROM payment"), [{"bank": None}])
        self.assertEqual(self.fields_in_history(self.rep, "product", "p1"), {"name", "price"})
        self.assert_verified(self.rep)
        self.assertEqual(self.sync(self.rep)["pulled_entries"], 0)

    def test_a_role_that_changes_while_a_device_is_online(self):
        self.make_product()
        process = harness.subprocess.Popen([str(harness.SATCHEL), "sync", str(self.rep), "--watch"],
                                           stdout=harness.subprocess.DEVNULL, stderr=harness.subprocess.DEVNULL)
        self.addCleanup(process.kill)
        cost = lambda: self.sql(self.rep, "SELECT cost FROM product")[0]["cost"]
        self.admin("workspace", "set", "w", "person", "rep", "role=hq")
        self.wait_until(lambda: cost() == "cost-8811")
        self.assertEqual(self.sql(self.rep, "SELECT satchel_role() AS role"), [{"role": "hq"}])
        self.admin("workspace", "set", "w", "person", "rep", "role=rep")
        self.wait_until(lambda: cost() == "unknown")
        process.terminate()
        process.wait()

    def test_a_mask_that_a_migration_adds_takes_the_column_away(self):
        self.make_product()
        self.assertEqual(self.sql(self.rep, "SELECT price FROM product"), [{"price": 900}])
        self.write_schema({"002_mask.sql": "-- @column product.price @lww @mask(hq)\n"
                                           "ALTER TABLE product ADD COLUMN margin TEXT; -- @lww @mask(hq)\n"})
        self.admin("workspace", "deploy", "w", "--schema", self.folder / "schema")
        self.sql(self.hq, "UPDATE product SET name='Press 4'")
        self.sync(self.hq)
        self.sql(self.hq, "UPDATE product SET margin='margin-3'")
        self.sync_all(*self.everybody)
        self.assertEqual(self.sql(self.rep, "SELECT name, price, margin FROM product"),
                         [{"name": "Press 4", "price": None, "margin": None}])
        self.assertEqual(self.sql(self.hq, "SELECT price, margin FROM product"), [{"price": 900, "margin": "margin-3"}])
        self.assert_verified(*self.everybody)


if __name__ == "__main__":
    unittest.main()
