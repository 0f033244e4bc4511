"""The faults of the chaos run, as tables: a name, whose hand deals it, what it does.

`strike(world, chance)` does it, waits until its cause is gone again, and says whether it took effect.
"""
import collections
import os
import resource
import shutil
import signal
import sqlite3
import time

import chaos_writer

DEVICES_MAX = 7  # clones included


def kill(kind):
    def strike(world, chance):
        actors = world.actors(kind)
        return world.wait(lambda: chance.choice(actors).strike(signal.SIGKILL), 5)
    return strike


def freeze(kind):
    def strike(world, chance):
        actors, struck = world.actors(kind), []

        def stop_one():
            struck[:] = [chance.choice(actors)]
            return struck[0].strike(signal.SIGSTOP)
        if not world.wait(stop_one, 5):
            return False
        world.over.wait(chance.uniform(0.1, 2.5))
        struck[0].strike(signal.SIGCONT)
        return True
    return strike


def kill_server(world, chance):
    world.server.kill()
    world.over.wait(chance.choice((0, chance.uniform(0, 1.5))))
    world.server.start()
    return True


def freeze_server(world, chance):
    world.server.process.send_signal(signal.SIGSTOP)
    world.over.wait(chance.choice((0.2, 1, 4, 12 if world.seconds > 200 else 2)))
    world.server.process.send_signal(signal.SIGCONT)
    world.server_recovers("a stop")
    return True


def fill_server_disk(world, chance):
    """Commits fit into the WAL that is there for a while: the canary writes until one does not."""
    world.server_disk.fill(chance.choice((0, 0, 8192, 40000)))
    surfaced = False
    for _ in range(10):
        world.canary_writes()
        surfaced = surfaced or not world.canary_syncs()
        if surfaced:
            break
    world.over.wait(chance.uniform(0.2, 2))
    world.canary_syncs()
    world.server_disk.free()
    world.server_recovers("a full disk")
    return surfaced


def restart_on_full_disk(world, chance):
    world.server_disk.fill(chance.choice((0, 8192, 40000)))
    world.server.kill()
    try:
        world.server.start()
        world.canary_syncs()
    except AssertionError as error:  # it says why, and does not start
        world.server.process.wait()
        if "no ready line but ''" not in str(error) or world.server.process.returncode != 1:
            raise
    world.server_disk.free()
    if world.server.process.poll() is not None:
        world.server.process.stdout.close()
        world.server.start()
    world.server_recovers("a restart on a full disk")
    return True


def take_descriptors(world, chance):
    """No new connection and no new file until they are given back."""
    pid = world.server.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (chance.choice((3, 20, 30)), limits[1]))
    world.over.wait(chance.uniform(0.3, 2))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    world.server_recovers("a lack of descriptors")
    return True


def fill_phone_disk(world, chance):
    """Two replicas at once. A write that needs room fails with a line, and works when there is room."""
    device = chance.choice([d for d in world.devices if d.replica.parent == world.phone_disk.folder])
    words = ("sql", device.replica, "CREATE TABLE IF NOT EXISTS local_note(text); "
             f"INSERT INTO local_note VALUES(zeroblob({chance.randrange(1 << 20, 8 << 20)})); "
             "DROP TABLE local_note")
    world.phone_disk.fill(chance.choice((0, 0, 4096, 20000)))
    done = world.test.run_command(*words)
    world.over.wait(chance.uniform(0.2, 2))
    world.phone_disk.free()
    if done.returncode not in (0, 1) or len(done.stderr.splitlines()) != done.returncode:
        world.fail(f"a write on a full disk ended with {done.returncode}: {done.stderr}")
    if trouble := world.trouble_with(*words):
        raise AssertionError(f"{device.name} is not written again after a full disk: {trouble}")
    return done.returncode == 1


def cut(direction):
    """After ever fewer bytes until one falls: few lines carry many."""
    def strike(world, chance):
        before, power = world.network.cuts, 3.5
        while power > 0:
            world.network.cut_after(direction, int(10 ** chance.uniform(0, power)), chance.random() < 0.5)
            if world.wait(lambda: world.network.cuts > before, 1.5):
                return True
            power -= 0.5
        return False
    return strike


def reset(world, _chance):
    return world.wait(world.network.reset, 5)


def fall_silent(world, _chance):
    return world.wait(world.network.fall_silent, 5)


def impair(**modes):
    def strike(world, chance):
        before = world.network.bytes
        for name, value in modes.items():
            setattr(world.network, name, value)
        world.over.wait(chance.uniform(1, 3))
        passed = world.network.bytes - before
        world.network.heal()
        return passed if "newcomers" not in modes else True
    return strike


# ---- what takes files away or brings old ones back ----


def remove_database(path):
    for file in path.parent.glob(path.name + "*"):
        file.unlink()


def copy_replica(source, target):
    """A consistent copy, as a phone's backup makes it while nothing has the file open."""
    remove_database(target)
    db = sqlite3.connect(source)
    db.execute("VACUUM INTO ?", (str(target),))
    db.close()


def put_back_replica(world, chance):
    """What was committed after the copy and had not left the phone is gone with it: nobody promises it."""
    device = chance.choice(world.devices[:2])
    copy = world.folder / f"{device.name}.copy"
    device.halt()
    copy_replica(device.replica, copy)
    held = world.committed_ids(f"{device.name}-")
    device.go_on()
    world.over.wait(chance.uniform(1, 5))
    with world.restoring:  # what has left the phone is on the server, and the canary has it
        device.halt()
        has_left = world.has_given_back(device.replica)
        pending = world.pending(device.replica)
        lost = world.committed_ids(f"{device.name}-") - held - world.ids_on_server()
        if has_left and len(lost) > pending:
            world.fail(f"{device.name}: {len(lost)} writes are not on the server, {pending} were pending")
        if has_left:
            world.server_recovers("nothing")
            world.pardoned |= lost
            remove_database(device.replica)
            os.replace(copy, device.replica)
            for actor in device.actors:
                actor.file_is_another()
    device.go_on()
    return has_left


def clone_replica(world, chance):
    """Both go on, each with writers of its own."""
    device = chance.choice(world.devices[:2])
    if len(world.devices) >= DEVICES_MAX:
        return True
    name = f"clone{len(world.devices)}"
    clone = world.folder / f"{name}.db"
    device.halt()
    copy_replica(device.replica, clone)
    device.go_on()
    for actor in world.add_device(name, clone, is_watched=device.is_watched).actors:
        actor.start()
    return True


def restore_server(world, chance):
    """To the moment of a backup made just now or long ago, perhaps before an earlier restore."""
    path = world.folder / f"backup{len(world.backups)}"
    if world.admin_runs("backup", "w", path, "--force"):
        world.backups.append(path)
    world.over.wait(chance.uniform(0.5, 4))
    with world.restoring:
        if not world.backups or not world.admin_runs("restore", "w", chance.choice(world.backups[-3:])):
            return False  # satcheld was killed, or its disk was full
        for aside in world.server.data.glob("w.db.replaced-*"):
            aside.unlink()
    return True


def put_back_server_by_hand(world, chance):
    """The first to come again is one that knows more than the copy: it is who proves it."""
    store, copy = world.server.data / "w.db", world.folder / "w.copy"
    with world.restoring:
        stop_server(world)
        shutil.copyfile(store, copy)
        world.server.start()
        world.over.wait(chance.uniform(0.5, 3))
        world.canary_writes()
        world.server_recovers("a stop")
        world.network.is_barred = True
        world.network.reset()
        stop_server(world)
        remove_database(store)
        shutil.copyfile(copy, store)
        world.server.start()
        world.server_recovers("an old copy")
        world.network.is_barred = False
    return True


def stop_server(world):
    status = world.server.stop()
    if status != 0:
        raise AssertionError(f"satcheld was told to stop and ended with {status}")


Fault = collections.namedtuple("Fault", "name hand strike needs_disk", defaults=(False,))

FAULTS = [
    Fault("kill -9 of satcheld", "server", kill_server),
    Fault("satcheld stopped and continued", "server", freeze_server),
    Fault("the server's disk full", "server", fill_server_disk, True),
    Fault("satcheld restarted on a full disk", "server", restart_on_full_disk, True),
    Fault("no descriptors for satcheld", "server", take_descriptors),
    Fault("kill -9 of sync", "device", kill("sync")),
    Fault("kill -9 of sync --watch", "device", kill("watch")),
    Fault("kill -9 of satchel sql", "device", kill("sql")),
    Fault("kill -9 of a long-lived writer", "device", kill("writer")),
    Fault("sync stopped and continued", "device", freeze("sync")),
    Fault("sync --watch stopped and continued", "device", freeze("watch")),
    Fault("satchel sql stopped and continued", "device", freeze("sql")),
    Fault("a long-lived writer stopped and continued", "device", freeze("writer")),
    Fault("a phone's disk full", "phone", fill_phone_disk, True),
    Fault("cut on the way up", "network", cut("up")),
    Fault("cut on the way down", "network", cut("down")),
    Fault("reset", "network", reset),
    Fault("half-open and silent", "network", fall_silent),
    Fault("pieces of a few bytes", "network", impair(piece_bytes_max=7)),
    Fault("delayed", "network", impair(delay_max=0.3)),
    Fault("newcomers refused", "network", impair(newcomers="refused")),
    Fault("newcomers not served", "network", impair(newcomers="silent")),
]

# Old copies of one side.
COPIES = [
    Fault("a replica put back from an old copy", "copies", put_back_replica),
    Fault("a replica cloned to a second phone", "copies", clone_replica),
]
RESTORES = [
    Fault("the server restored from a backup", "copies", restore_server),
    Fault("the server's data put back by hand", "server", put_back_server_by_hand),
]
