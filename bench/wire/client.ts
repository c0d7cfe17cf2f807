/**
 * A load client over bare sockets, in a process of its own: `client.js <what> <port> <key> <pid> <warm seconds> <seconds>` prints what it saw
 * as JSON. It asks for the next thing when it has the answer to the last, on each connection.
 *
 *   get    64 connections, GET of one of 1000 records
 *   post   64 connections, POST of one of 1000 records
 *   ws     8 connections, 64 `get`s of WebSocket under way on each
 *   rioc-get, rioc-set               8 connections, 4 batches of 16 of RIOC under way on each
 *   rioc-alone, rioc-single          1 connection and 64 with one `GET` under way on each
 *   rioc-pipelined                   8 connections with 64 of them, each a request of its own
 *
 * What comes first only warms the server up: so many seconds, and as many operations as its code needs to be compiled.
 */
import { readdirSync, readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { RECORD_COUNT, RIOC_BATCH, RIOC_FIRST, RIOC_REPLY_SIZE } from "./constants.ts";

/** What was seen. */
export interface Load {
  /** Operations in a second, and in a second of the server's own time on a core. */
  rate: number;
  ratePerCpuSecond: number;
  p50Ms: number;
  p99Ms: number;
  /** Share of the client's core that it used: near 1 the client, not the server, was what was measured. */
  clientShare: number;
}

const [what = "", portText = "", key = "", pid = "", warmText = "1", secondsText = "3"] = process.argv.slice(2);
const port = Number(portText);
const DEPTH = 64;

let isMeasuring = false;
let count = 0;
/** Operations before anything is measured: at least, and for how long they are waited for. */
const WARM_COUNT = 40_000;
const WARM_SECONDS_MAX = 6;
let warmCount = 0;
const times: number[] = [];

/** Nanoseconds on a core of all threads of the server. */
function serverNs(): number {
  let sum = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      sum += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
    } catch {
      // A thread that has ended meanwhile.
    }
  }
  return sum;
}

function took(startMs: number, operations: number): void {
  if (!isMeasuring) {
    warmCount += operations;
    return;
  }
  count += operations;
  times.push(performance.now() - startMs);
}

function requests(): Buffer[] {
  const head = `Host: 127.0.0.1:${port}\r\nx-api-key: ${key}\r\n`;
  return Array.from({ length: RECORD_COUNT }, (_, index) => {
    if (what === "get") return Buffer.from(`GET /record/key-${index} HTTP/1.1\r\n${head}\r\n`);
    const body = JSON.stringify({ key: `key-${index}`, value: "v".repeat(100) });
    return Buffer.from(
      `POST /record HTTP/1.1\r\n${head}content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
  });
}

/** One connection of HTTP. */
function converse(all: Buffer[], first: number): void {
  let next = first;
  let startMs = 0;
  let received = "";
  const socket = connect({ port, host: "127.0.0.1", noDelay: true }, ask);
  function ask(): void {
    startMs = performance.now();
    socket.write(all[next++ % all.length] as Buffer);
  }
  socket.on("data", (chunk) => {
    received = received === "" ? chunk.toString("latin1") : received + chunk.toString("latin1");
    const end = received.indexOf("\r\n\r\n");
    if (end < 0) return;
    const length = /\r\ncontent-length: (\d+)/i.exec(received)?.[1];
    if (!received.startsWith("HTTP/1.1 200") || length === undefined) fail(received);
    if (received.length < end + 4 + Number(length)) return;
    received = "";
    took(startMs, 1);
    ask();
  });
  socket.on("close", () => fail("the server closed a connection"));
}

/** A whole frame whose mask is zero. */
function frame(text: string): Buffer {
  const payload = Buffer.from(text);
  return Buffer.concat([Buffer.from([0x81, 0x80 | payload.length, 0, 0, 0, 0]), payload]);
}

/** One connection of WebSocket. */
function pipeline(lane: number): void {
  const batch = Buffer.concat(
    Array.from({ length: DEPTH }, (_, index) =>
      frame(JSON.stringify({ op: 1, key: `key-${(lane * DEPTH + index) % RECORD_COUNT}`, messageId: index + 1 })),
    ),
  );
  let startMs = 0;
  let isOpen = false;
  let rest: Buffer = Buffer.alloc(0);
  let left = 0;
  const socket: Socket = connect({ port, host: "127.0.0.1", noDelay: true }, () => {
    socket.write(
      `GET /ws?apiKey=${key} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
  });
  const ask = (): void => {
    startMs = performance.now();
    left = DEPTH;
    socket.write(batch);
  };
  socket.on("data", (chunk) => {
    if (!isOpen) {
      if (!chunk.toString("latin1").startsWith("HTTP/1.1 101")) fail(chunk.toString());
      isOpen = true;
      ask();
      return;
    }
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    while (at + 4 <= bytes.length) {
      const short = bytes[at + 1] as number;
      const size = short < 126 ? 2 + short : 4 + bytes.readUInt16BE(at + 2);
      if (at + size > bytes.length) break;
      at += size;
      left--;
    }
    rest = bytes.subarray(at);
    if (left > 0) return;
    took(startMs, DEPTH);
    ask();
  });
  socket.on("close", () => fail("the server closed a connection"));
}

/** One request of RIOC with so many operations, on records from `first` on. */
function riocRequest(first: number, count: number, isSet: boolean): Buffer {
  const value = Buffer.from(isSet ? "v".repeat(100) : "");
  const pieces: Buffer[] = [];
  const head = Buffer.alloc(12);
  head.writeUInt32LE(0x524f4943, 0);
  head.writeUInt16LE(2, 4);
  head.writeUInt16LE(count, 6);
  pieces.push(head);
  for (let at = 0; at < count; at++) {
    const key = Buffer.from(`key-${RIOC_FIRST + ((first + at) % (RECORD_COUNT - RIOC_FIRST))}`);
    const operation = Buffer.alloc(16);
    operation.writeUInt16LE(isSet ? 2 : 1, 0);
    operation.writeUInt16LE(key.length, 2);
    operation.writeUInt32LE(value.length, 4);
    operation.writeBigUInt64LE(BigInt(Date.now()) * 1_000_000n, 8);
    pieces.push(operation, key, value);
  }
  return Buffer.concat(pieces);
}

/** One connection of RIOC: sends `requests` of `count` operations each, counts what comes, and sends them again. */
function pump(lane: number, requests: number, count: number, isSet: boolean): void {
  const rounds = Array.from({ length: 8 }, (_, round) =>
    Buffer.concat(
      Array.from({ length: requests }, (_, at) =>
        riocRequest(((lane * 8 + round) * requests + at) * count, count, isSet),
      ),
    ),
  );
  const size = requests * count * (isSet ? 8 : RIOC_REPLY_SIZE);
  let next = 0;
  let left = 0;
  let startMs = 0;
  const socket = connect({ port, host: "127.0.0.1", noDelay: true }, ask);
  function ask(): void {
    startMs = performance.now();
    left = size;
    socket.write(rounds[next++ % rounds.length] as Buffer);
  }
  socket.on("data", (chunk) => {
    // Statuses and sizes of all others have come as well, or the bytes would not be as many.
    if (left === size && (chunk.readInt32LE(0) !== 0 || chunk.readUInt32LE(4) !== (isSet ? 0 : 100))) {
      fail(`a reply of RIOC is ${chunk.subarray(0, 8).toString("hex")}`);
    }
    left -= chunk.length;
    if (left < 0) fail("more replies came than were asked for");
    if (left > 0) return;
    took(startMs, requests * count);
    ask();
  });
  socket.on("close", () => fail("the server closed a connection"));
}

function fail(text: string): never {
  console.error(`client: ${text.slice(0, 500)}`);
  process.exit(1);
}

const RIOC: Record<string, [lanes: number, requests: number, count: number]> = {
  "rioc-get": [8, 4, RIOC_BATCH],
  "rioc-set": [8, 4, RIOC_BATCH],
  "rioc-alone": [1, 1, 1],
  "rioc-single": [64, 1, 1],
  "rioc-pipelined": [8, DEPTH, 1],
};
const rioc = RIOC[what];
if (rioc !== undefined) {
  const [lanes, requests, count] = rioc;
  for (let lane = 0; lane < lanes; lane++) pump(lane, requests, count, what === "rioc-set");
} else if (what === "ws") for (let lane = 0; lane < 8; lane++) pipeline(lane);
else {
  const all = requests();
  for (let lane = 0; lane < 64; lane++) converse(all, lane * 15);
}
const warmBy = performance.now() + WARM_SECONDS_MAX * 1000;
setTimeout(function begin() {
  if (warmCount < WARM_COUNT && performance.now() < warmBy) {
    setTimeout(begin, 50);
    return;
  }
  isMeasuring = true;
  const startMs = performance.now();
  const startNs = serverNs();
  const startCpu = process.cpuUsage();
  setTimeout(() => {
    isMeasuring = false;
    const seconds = (performance.now() - startMs) / 1000;
    const cpuSeconds = (serverNs() - startNs) / 1e9;
    const { user, system } = process.cpuUsage(startCpu);
    times.sort((a, b) => a - b);
    const load: Load = {
      rate: count / seconds,
      ratePerCpuSecond: count / cpuSeconds,
      p50Ms: times[Math.floor(times.length / 2)] ?? 0,
      p99Ms: times[Math.floor(times.length * 0.99)] ?? 0,
      clientShare: (user + system) / 1e6 / seconds,
    };
    console.log(JSON.stringify(load));
    process.exit(0);
  }, Number(secondsText) * 1000);
}, Number(warmText) * 1000);
