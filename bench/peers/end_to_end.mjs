// What it takes others to bring rows from one device over a server to another, each of the three a process of
// its own: 10,000 contacts written at once, then single changes. Prints JSON: rows per second, and the median
// of single changes in milliseconds.
//
//   end_to_end.mjs pouchdb|yjs
//
// PouchDB keeps what it has in LevelDB and speaks HTTP with express-pouchdb; Yjs keeps it in memory, and a
// server of a few lines passes on what it hears.
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROWS = 10000;
const CHANGES = 100;
const require = createRequire(import.meta.url);
const [engine, role, place] = process.argv.slice(2);

function contact(i) {
    return {
        id: `${String(i).padStart(8, "0")}-4abc-8def-${String(i * 7919).padStart(12, "0")}`,
        name: `Contact ${i}`, street: `Renmin South Road ${i % 400}`, city: "Chengdu",
        phone: `+86 28 ${String(i * 104729 % 100000000).padStart(8, "0")}`,
        note: `visited on 12/05, wants an offer for ${i % 500} pumps and asks for a call next week, ref ${i}`,
        amount: i * 31 % 1000000, rate: i % 1000 / 8, created_at: 1719800000000 + i, changed_at: 1719800000000 + i,
    };
}

// ---- one device: told to write, tells what arrives ----

async function pouchdb_device() {
    const PouchDB = require("pouchdb");
    const db = new PouchDB(place.split(" ")[1]);
    let count = 0;
    db.sync(`${place.split(" ")[0]}/contacts`, { live: true, retry: true, batch_size: 500 });
    db.changes({ live: true, since: "now" }).on("change", () => process.send({ count: ++count }));
    return async (rows) => {
        await db.bulkDocs(rows.map(({ id, ...fields }) => ({ _id: id, ...fields })));
    };
}

async function pouchdb_server() {
    const PouchDB = require("pouchdb").defaults({ prefix: `${place}/` });
    const app = require("express")();
    app.use("/", require("express-pouchdb")(PouchDB, { mode: "minimumForPouchDB", inMemoryConfig: true }));
    await new PouchDB("contacts").info();
    const server = app.listen(0, "127.0.0.1");
    await once(server, "listening");
    process.send({ url: `http://127.0.0.1:${server.address().port}` });
}

async function yjs_device() {
    const Y = require("yjs");
    const { WebSocket } = require("ws");
    const doc = new Y.Doc();
    const table = doc.getMap("contacts");
    const socket = new WebSocket(place.split(" ")[0]);
    let count = 0;
    socket.binaryType = "nodebuffer";
    socket.on("message", (update) => Y.applyUpdate(doc, update, "server"));
    doc.on("update", (update, origin) => origin === "server" || socket.send(update));
    table.observe((event, { origin }) => {
        count += event.keysChanged.size;
        if (origin === "server")
            process.send({ count });
    });
    await once(socket, "open");
    return (rows) => doc.transact(() => rows.forEach((row) => table.set(row.id, row)));
}

async function yjs_server() {
    const { WebSocketServer } = require("ws");
    const Y = require("yjs");
    const doc = new Y.Doc(); // the server has the state, too
    const http = createServer();
    const server = new WebSocketServer({ server: http });
    server.on("connection", (socket) => socket.on("message", (update) => {
        Y.applyUpdate(doc, update);
        for (const other of server.clients)
            if (other !== socket)
                other.send(update);
    }));
    http.listen(0, "127.0.0.1");
    await once(http, "listening");
    process.send({ url: `ws://127.0.0.1:${http.address().port}` });
}

const ROLES = { "pouchdb device": pouchdb_device, "pouchdb server": pouchdb_server, "yjs device": yjs_device,
                "yjs server": yjs_server };

// ---- the measurement ----

function begin(name, where) {
    return fork(fileURLToPath(import.meta.url), [engine, name, where], { stdio: ["ignore", "ignore", "inherit", "ipc"] });
}

async function message(child, wanted) {
    for (;;) {
        const [heard] = await once(child, "message");
        if (wanted(heard))
            return heard;
    }
}

async function measure() {
    const folder = mkdtempSync(join(tmpdir(), "satchel-peers-"));
    const server = begin("server", folder);
    const { url } = await message(server, (heard) => heard.url);
    const [writer, reader] = ["a", "b"].map((name) => begin("device", `${url} ${join(folder, name)}`));
    await Promise.all([writer, reader].map((device) => message(device, (heard) => heard.ready)));
    let since = performance.now();
    let arrived = message(reader, (heard) => heard.count >= ROWS);
    writer.send({ first: 0, count: ROWS });
    await arrived;
    const rows_per_second = ROWS / (performance.now() - since) * 1000;
    const times = [];
    for (let i = 0; i < CHANGES; i++) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        since = performance.now();
        arrived = message(reader, (heard) => heard.count > ROWS + i);
        writer.send({ first: ROWS + i, count: 1 });
        await arrived;
        times.push(performance.now() - since);
    }
    times.sort((a, b) => a - b);
    console.log(JSON.stringify({ rows_per_second: Math.round(rows_per_second), change_ms: +times[CHANGES / 2].toFixed(2) }));
    for (const child of [writer, reader, server])
        child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
}

if (!role) {
    await measure();
} else {
    const write = await ROLES[`${engine} ${role}`]();
    if (write)
        process.on("message", async ({ first, count }) => {
            await write(Array.from({ length: count }, (_, i) => contact(first + i)));
        });
    process.send({ ready: true });
}
