"""A scenario as its file says it; tests/scenarios/README.md describes the format."""
import datetime
import pathlib
import re

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "scenarios"
BEIJING = datetime.timezone(datetime.timedelta(hours=8))
TIME = re.compile(r"(?:(\d{4}-\d\d-\d\d) )?(\d\d:\d\d)")
MOMENT = re.compile(r"\{(now|(?:\d{4}-\d\d-\d\d )?\d\d:\d\d)\}")


class Step:
    """kind: write, set, sync, expect or conflicts."""

    def __init__(self, kind, where, at, **rest):
        self.kind, self.where, self.at = kind, where, at
        self.device = self.refusal = None
        self.named, self.is_all_but = [], False  # sync; expect and conflicts of these devices
        self.text, self.rows = "", []
        self.__dict__.update(rest)


class Scenario:
    def __init__(self, name):
        self.steps, self.devices, self.clock_errors = [], [], {}
        self._day = self._at = None
        self._read(name)

    def taking_part(self, step):
        return [d for d in self.devices if (d in step.named) != step.is_all_but]

    # ---- reading ----

    def _read(self, name):
        block = None
        for number, line in enumerate((FOLDER / name).read_text().splitlines(), 1):
            where, line = f"{name}:{number}", line.rstrip()
            if not line or line.startswith("#"):
                continue
            if line.startswith(" "):
                block = self._inner(block, line.strip(), where)
            else:
                block = self._outer(line, where)

    def _moment(self, match):
        day, time = match.groups() if match.re is TIME else TIME.fullmatch(match.group(1)).groups()
        day = day or self._day
        return day, datetime.datetime.fromisoformat(f"{day} {time}").replace(tzinfo=BEIJING)

    def _with_times(self, text):
        return MOMENT.sub(lambda m: str(int(1000 * (
            self._at if m.group(1) == "now" else self._moment(m)[1]).timestamp())), text)

    def _device(self, name):
        if name not in self.devices:
            self.devices.append(name)
        return name

    def _add(self, step):
        self.steps.append(step)
        return step

    def _outer(self, line, where):
        kind, *names = line.split()
        if kind in ("expect", "conflicts"):
            return self._add(Step(kind, where, self._at, named=[self._device(name) for name in names]))
        if line.startswith("from "):
            self._read(line[5:] + ".scenario")
            return None
        if line.startswith("clock "):
            _, name, error = line.split()
            self.clock_errors[self._device(name)] = int(error.removesuffix("h"))
            return None
        match = TIME.match(line)
        self._day, self._at = self._moment(match)
        words = line[match.end() + 1:]
        if re.match(r"sync\b", words):
            names = words[4:].replace(",", " ").split()
            is_all_but = not names or names[0] == "not"
            names = [self._device(name) for name in names if name != "not"]
            self._add(Step("sync", where, self._at, named=names, is_all_but=is_all_but))
            return None
        if words == "server":
            return self._add(Step("set", where, self._at))
        name, _, refusal = words.partition(" refused: ")
        return self._add(Step("write", where, self._at, device=self._device(name),
                              refusal=refusal or None))

    def _inner(self, step, line, where):
        if line.startswith("--"):
            return step
        line = self._with_times(line)
        is_row = step.kind == "conflicts" or line.startswith("= ") or line == "none"
        if step.kind in ("write", "set") or not is_row:
            if step.rows:  # the next query of an expect block
                step = self._add(Step("expect", where, self._at, named=step.named))
            step.text += line + "\n"
        elif line != "none":
            step.rows.append(line.removeprefix("= "))
        else:
            step.rows = step.rows or Nothing()
        return step


class Nothing(list):
    """No rows, said so."""

    def __bool__(self):
        return True
