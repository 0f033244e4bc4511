"""The rows head office starts with: generated from a fixed seed, or the real sales CSV files, cleaned.

Both give the same shape: a dict of table name -> list of row dicts, in the order of insertion. Ids are
derived from natural keys, so that loading the same data twice gives the same rows.
"""
import csv
import datetime
import pathlib
import random
import uuid

NAMESPACE = uuid.UUID("6f9619ff-8b86-4d01-b42d-00cf4fc964ff")
BASE_MS = 1759968000000  # 2025-10-09 00:00 UTC


def row_id(*parts):
    return str(uuid.uuid5(NAMESPACE, "\x1f".join(parts)))


def login_of(name):
    return name.lower().replace(" ", ".").replace("'", "")


def offices_and_people(teams):
    """teams: list of (agent, manager, office)."""
    offices, users, manager_ids = [], [], {}
    for office in sorted({office for _, _, office in teams}):
        offices.append(dict(id=row_id("office", office), parent_id="head-office", kind="branch",
                            code=office, name=office, created_at=BASE_MS))
    for _, manager, office in teams:
        if manager not in manager_ids:
            manager_ids[manager] = row_id("user", manager)
            users.append(dict(id=manager_ids[manager], login=login_of(manager), name=manager,
                              role="branch_manager", org_unit_id=row_id("office", office),
                              manager_id="head-office", created_at=BASE_MS))
    for agent, manager, office in teams:
        users.append(dict(id=row_id("user", agent), login=login_of(agent), name=agent, role="rep",
                          org_unit_id=row_id("office", office), manager_id=manager_ids[manager],
                          created_at=BASE_MS))
    return offices, users


# ---- the real files ----

PRODUCT_SPELLINGS = {"GTXPro": "GTX Pro"}
WORD_SPELLINGS = {"technolgy": "technology", "Philipines": "Philippines"}
STAGES = {"Won": ("closed_won", 100), "Lost": ("closed_lost", 0),
          "Engaging": ("qualification", 20), "Prospecting": ("prospecting", 10)}


def read_csv(folder, name):
    with open(pathlib.Path(folder) / name, newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def minor(text):
    return round(float(text) * 100) if text else None


def from_csv(folder):
    clean = lambda text: WORD_SPELLINGS.get(text.strip(), text.strip()) or None
    product_name = lambda text: PRODUCT_SPELLINGS.get(text.strip(), text.strip())
    teams = [(r["sales_agent"], r["manager"], r["regional_office"])
             for r in read_csv(folder, "sales_teams.csv")]
    offices, users = offices_and_people(teams)
    office_of = {agent: row_id("office", office) for agent, _, office in teams}
    sales = read_csv(folder, "sales_pipeline.csv")

    products = [dict(id=row_id("product", product_name(r["product"])), code=product_name(r["product"]),
                     name=product_name(r["product"]), currency="USD",
                     series=r["series"], price_minor=minor(r["sales_price"]), created_at=BASE_MS)
                for r in read_csv(folder, "products.csv")]

    # An account belongs to whoever has most of its opportunities; ties go to the first by name.
    tally = {}
    for sale in sales:
        agents = tally.setdefault(sale["account"], {})
        agents[sale["sales_agent"]] = agents.get(sale["sales_agent"], 0) + 1
    owner_of = {account: min(agents, key=lambda a: (-agents[a], a))
                for account, agents in tally.items()}
    accounts = []
    for r in read_csv(folder, "accounts.csv"):
        owner = owner_of.get(r["account"])
        accounts.append(dict(
            id=row_id("account", r["account"]), name=r["account"], type="customer",
            industry=clean(r["sector"]), source="import", country=clean(r["office_location"]),
            employees=int(r["employees"]), revenue_minor=minor(r["revenue"]) * 1000000,
            parent_id=row_id("account", r["subsidiary_of"]) if r["subsidiary_of"] else None,
            owner_id=row_id("user", owner) if owner else None,
            org_unit_id=office_of.get(owner), customer_since_on=None, created_at=BASE_MS))

    opportunities = []
    for r in sales:
        stage, probability = STAGES[r["deal_stage"]]
        product = product_name(r["product"])
        opportunities.append(dict(
            id=row_id("opportunity", r["opportunity_id"]),
            account_id=row_id("account", r["account"]) if r["account"] else None,
            product_id=row_id("product", product), name=f"{product} for {r['account'] or 'nobody yet'}",
            stage=stage, probability=probability, closed_on=r["close_date"] or None,
            amount_minor=minor(r["close_value"]), currency="USD", opened_on=r["engage_date"] or None,
            owner_id=row_id("user", r["sales_agent"]), org_unit_id=office_of[r["sales_agent"]],
            created_at=BASE_MS))
    return dict(org_unit=offices, user=users, product=products, account=accounts,
                opportunity=opportunities, contact=[], activity=[])


# ---- a believable workspace from a seed ----

FIRST = "Ana Ben Chloé Dmitri Elif Farid Grace Hugo Ines Jonas Kira Liam Mei Noor Omar Pia".split()
LAST = "Almeida Baker Chen Dvorak Eriksen Fontaine Garcia Hassan Ito Jansen Kovač Lindqvist".split()
WORDS = "Alpine Bright Cobalt Delta Evergreen Falcon Granite Harbor Indigo Jasper Lumen".split()
KINDS = "Foods Logistics Machinery Optics Packaging Textiles Tools Software Energy Medical".split()
CITIES = [("Germany", "Hamburg"), ("Germany", "Leipzig"), ("France", "Lyon"), ("Spain", "Bilbao"),
          ("Poland", "Gdańsk"), ("China", "成都"), ("China", "重庆"), ("Japan", "大阪")]


def generated(seed=20251009):
    rng = random.Random(seed)
    # Each round pairs every first name with another last name, so that neighbours have different ones.
    people = [f"{first} {LAST[(i + shift) % len(LAST)]}"
              for shift in range(len(LAST)) for i, first in enumerate(FIRST)]
    teams = []
    for office in ("North", "South", "East"):
        manager = people.pop()
        teams += [(people.pop(), manager, office) for _ in range(4)]
    offices, users = offices_and_people(teams)
    reps = [u for u in users if u["role"] == "rep"]
    products = [dict(id=row_id("product", name), code=name, name=name, currency="EUR", series=name.split()[0],
                     price_minor=price, created_at=BASE_MS)
                for name, price in [("Pump S", 55000), ("Pump M", 109600), ("Pump L", 482100),
                                    ("Valve V2", 5500), ("Valve V8", 339300), ("Line 500", 2676800)]]
    accounts, contacts, opportunities, activities = [], [], [], []
    names = sorted({f"{w} {k}" for w in WORDS for k in KINDS})
    rng.shuffle(names)
    for name in names[:60]:
        rep = rng.choice(reps)
        country, city = rng.choice(CITIES)
        account = dict(id=row_id("account", name), name=name,
                       type=rng.choice(["prospect", "customer", "customer"]),
                       industry=name.split()[1].lower(), source=rng.choice(["fair", "web", "referral"]),
                       phone=f"+49 40 {rng.randint(100000, 999999)}", country=country, city=city,
                       street=f"Main street {rng.randint(1, 99)}", postcode=str(rng.randint(10000, 99999)),
                       employees=rng.randint(5, 4000), tier=rng.choice("ABC"), owner_id=rep["id"],
                       org_unit_id=rep["org_unit_id"], created_at=BASE_MS)
        accounts.append(account)
        for _ in range(rng.randint(1, 3)):
            person = rng.choice(people)
            contacts.append(dict(id=row_id("contact", name, person), account_id=account["id"],
                                 name=person, title=rng.choice(["Buyer", "Director", "Engineer"]),
                                 mobile=f"+49 170 {rng.randint(1000000, 9999999)}",
                                 email=f"{login_of(person)}@{name.split()[0].lower()}.example",
                                 created_at=BASE_MS))
        for number in range(rng.randint(2, 9)):
            product = rng.choice(products)
            stage, probability = rng.choice(list(STAGES.values()))
            day = datetime.date(2025, 1, 1) + datetime.timedelta(days=rng.randint(0, 280))
            opportunities.append(dict(
                id=row_id("opportunity", name, str(number)), account_id=account["id"],
                product_id=product["id"], name=f"{product['name']} for {name}", stage=stage,
                probability=probability,
                closed_on=str(day) if stage.startswith("closed") else None,
                amount_minor=product["price_minor"] * rng.randint(1, 20), currency="EUR",
                opened_on=str(day - datetime.timedelta(days=rng.randint(5, 60))),
                owner_id=rep["id"], org_unit_id=rep["org_unit_id"], created_at=BASE_MS))
        for number in range(rng.randint(0, 4)):
            activities.append(dict(
                id=row_id("activity", name, str(number)), account_id=account["id"],
                kind=rng.choice(["visit", "call", "email"]),
                occurred_at=BASE_MS - rng.randint(1, 200) * 86400000,
                duration_min=rng.choice([10, 30, 60]), subject=rng.choice(
                    ["First meeting", "Prices discussed", "Complaint settled", "Sample shown"]),
                user_id=rep["id"]))
    # One contact of each account is unique by (account, person): a second draw of the same is dropped.
    contacts = list({c["id"]: c for c in contacts}.values())
    return dict(org_unit=offices, user=users, product=products, account=accounts, contact=contacts,
                opportunity=opportunities, activity=activities)
