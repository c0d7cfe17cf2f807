/**
 * What `GET /record/{key}` takes beside the same runtime's bare HTTP server, which answers from a `Map`: requests a second over
 * 32 connections of this machine, each with one request at a time, best of three rounds. The server is a process of its own.
 *
 *   npm run build && node bench/micro/rest.mjs [seconds of a round]
 */
import { spawn } from "node:child_process";
import { createServer as createHttpServer } from "node:http";
import { connect } from "node:net";
import { performance } from "node:perf_hooks";
import { newApiKey } from "../../build/adapters/server/access/api-keys.js";
import { createServer } from "../../build/adapters/server/index.js";
import { open } from "../../build/hosts/node.js";

const CONNECTIONS = 32;
const RECORDS = 10_000;
const VALUE = "v".repeat(100);
const [, file = "", mode = "", key = ""] = process.argv;

/** @param {number} i */
const keyOf = (i) => `user:${i}`;

/** Answers from a `Map`, with no check of anything. */
function serveBare() {
  const records = new Map();
  for (let i = 0; i < RECORDS; i++) records.set(keyOf(i), VALUE);
  const server = createHttpServer((request, response) => {
    const name = decodeURIComponent((request.url ?? "").slice(8));
    const body = JSON.stringify({ key: name, value: records.get(name) });
    response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
    response.end(body);
  });
  server.listen(0, "127.0.0.1", () => {
    const address = server.address();
    console.log(typeof address === "object" ? address?.port : "");
  });
}

/** @param {string} text The API key that counts. */
async function serveStore(text) {
  const store = await open(":memory:");
  const records = store.sub("bench");
  for (let i = 0; i < RECORDS; i++) records.set(keyOf(i), VALUE);
  const { createHash } = await import("node:crypto");
  const [, id = "", secret = ""] = /^cairn_([^_]+)_(.*)$/.exec(text) ?? [];
  const sha256 = createHash("sha256").update(secret).digest("hex");
  const keys = { tenants: { bench: {} }, keys: { [id]: { tenant: "bench", role: "reader", sha256 } } };
  const server = createServer(store, { keys, logLevel: "warn" });
  console.log((await server.listen()).port);
}

/**
 * @param {number} port
 * @param {string} text
 * @param {number} ms
 */
async function load(port, text, ms) {
  let count = 0;
  let isOver = false;
  /** @type {number[]} */
  const times = [];
  const start = performance.now();
  await Promise.all(
    Array.from({ length: CONNECTIONS }, (_, n) => {
      const socket = connect(port, "127.0.0.1");
      socket.setNoDelay(true);
      let i = n;
      let sentAt = 0;
      const ask = () => {
        i = (i + 7919) % RECORDS;
        sentAt = performance.now();
        socket.write(`GET /record/${keyOf(i)} HTTP/1.1\r\nhost: x\r\nx-api-key: ${text}\r\naccept: */*\r\n\r\n`);
      };
      return new Promise((resolve, reject) => {
        socket.on("connect", ask);
        socket.on("error", reject);
        socket.on("close", resolve);
        // An answer fits one segment.
        socket.on("data", (piece) => {
          if (piece[9] !== 0x32 || piece[piece.length - 1] !== 0x7d) reject(new Error(piece.toString()));
          count++;
          if (count % 16 === 0) times.push(performance.now() - sentAt);
          if (isOver) socket.end();
          else ask();
        });
        setTimeout(() => {
          isOver = true;
        }, ms);
      });
    }),
  );
  times.sort((a, b) => a - b);
  return { rate: (count * 1000) / (performance.now() - start), p99: times[Math.floor(times.length * 0.99)] ?? 0 };
}

if (mode === "bare") serveBare();
else if (mode === "store") await serveStore(key);
else {
  const roundMs = Number(mode === "" ? 3 : mode) * 1000;
  const { text } = newApiKey();
  /** @type {Record<string, { rate: number, p99: number }>} */
  const best = {};
  for (let round = 0; round < 3; round++) {
    for (const name of ["bare", "store"]) {
      const server = spawn(process.execPath, [file, name, text], { stdio: ["ignore", "pipe", "inherit"] });
      const port = await new Promise((resolve) => server.stdout.once("data", (line) => resolve(Number(line))));
      await load(port, text, 700);
      const figures = await load(port, text, roundMs);
      server.kill("SIGKILL");
      if (figures.rate > (best[name]?.rate ?? 0)) best[name] = figures;
    }
  }
  for (const [name, { rate, p99 }] of Object.entries(best)) {
    console.log(`${name.padEnd(6)} ${Math.round(rate).toLocaleString("en")} requests/s, p99 ${p99.toFixed(2)} ms`);
  }
  console.log(`ratio  ${((best["store"]?.rate ?? 0) / (best["bare"]?.rate ?? 1)).toFixed(2)}`);
}
