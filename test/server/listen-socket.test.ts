/** WebSockets over real sockets: the `ws` client, and frames byte by byte. */
import { expect, test } from "vitest";
import WebSocket from "ws";
import { reply } from "../../adapters/server/reply.ts";
import type { Socket, SocketSession, UpgradeAccepted } from "../../adapters/server/wire.ts";
import { frame, RawSocket, text, upgradeRequest } from "./frames.ts";
import { delay, get, Raw, statusesOf } from "./raw.ts";
import { somebody, startWeb, type WebTest } from "./web.ts";

/** Sends back what comes. */
const echoing = (socket: Socket): SocketSession => ({
  message: (content) => socket.send(content),
  drained() {},
  closed() {},
});

function accepting(begin: UpgradeAccepted["begin"], more: Partial<UpgradeAccepted> = {}): WebTest["upgrade"] {
  return async () => ({ principal: somebody(), begin, ...more });
}

const wholeText = 0x81;

test("serves a client of the library ws: text, bytes, large messages, and a close from either side", async () => {
  let closedCount = 0;
  const server = await startWeb({
    upgrade: accepting((socket) => ({
      message(content) {
        if (content === "bye") socket.close(3001, "as you wish");
        else socket.send(content);
      },
      drained() {},
      closed() {
        closedCount++;
      },
    })),
  });
  const client = new WebSocket(`ws://127.0.0.1:${server.port}/ws`);
  const received: unknown[] = [];
  client.on("message", (content, isBinary) => received.push(isBinary ? [...(content as Buffer)] : String(content)));
  await new Promise((resolve) => client.on("open", resolve));
  client.send("hå");
  client.send("");
  client.send(Buffer.from([0, 255, 128]));
  client.send("x".repeat(125));
  client.send("ö".repeat(100));
  client.send("y".repeat(70_000));
  await expect.poll(() => received.length).toBe(6);
  expect(received).toEqual(["hå", "", [0, 255, 128], "x".repeat(125), "ö".repeat(100), "y".repeat(70_000)]);
  const closed = new Promise((resolve) => client.on("close", (code, reason) => resolve([code, String(reason)])));
  client.send("bye");
  expect(await closed).toEqual([3001, "as you wish"]);
  const second = new WebSocket(`ws://127.0.0.1:${server.port}/ws`);
  await new Promise((resolve) => second.on("open", resolve));
  const secondClosed = new Promise((resolve) => second.on("close", resolve));
  second.close(1000, "done");
  expect(await secondClosed).toBe(1000);
  await expect.poll(() => [closedCount, server.connections.webSocket]).toEqual([2, 0]);
});

test("reads frames however they are cut, in parts, with pings between", async () => {
  const { port } = await startWeb({ upgrade: accepting(echoing) });
  const bytes = Buffer.concat([
    text("one"),
    frame({ first: 0x01, payload: "tw" }),
    frame({ first: 0x89, payload: "ping" }),
    frame({ first: 0x00, payload: Buffer.from("ö").subarray(0, 1) }),
    frame({ first: 0x80, payload: Buffer.from("ö").subarray(1) }),
    text("x".repeat(300)),
    frame({ first: 0x82, payload: Buffer.from([7]) }),
    frame({ first: 0x88, payload: Buffer.from([0x03, 0xe8]) }),
  ]);
  for (const size of [1, 3, 11, 10_000]) {
    const client = await RawSocket.to(port);
    await client.raw.writeInPieces(bytes, size);
    expect(await client.closeCode(), `in pieces of ${size}`).toBe(1000);
    expect(client.texts).toEqual(["one", "twö", "x".repeat(300)]);
    expect(client.frames.map(({ opcode }) => opcode)).toEqual([1, 10, 1, 1, 2, 8]);
    expect(String(client.frames[1]?.payload)).toBe("ping");
  }
});

test("takes frames that come with the request", async () => {
  const { port } = await startWeb({
    upgrade: async () => {
      await delay(50);
      return { principal: somebody(), begin: echoing };
    },
  });
  const client = await RawSocket.to(port, Buffer.concat([text("early"), text("as well")]));
  await client.until(2);
  expect(client.texts).toEqual(["early", "as well"]);
  client.raw.destroy();
});

test.each([
  ["a frame without a mask", frame({ first: wholeText, payload: "x", isMasked: false }), 1002],
  ["reserved bits", frame({ first: 0xc1, payload: "x" }), 1002],
  ["an opcode that is not known", frame({ first: 0x83, payload: "x" }), 1002],
  ["an opcode of control that is not known", frame({ first: 0x8b }), 1002],
  ["a ping in parts", frame({ first: 0x09 }), 1002],
  ["a ping that is too large", frame({ first: 0x89, payload: "x".repeat(126) }), 1002],
  ["a part of nothing", frame({ first: 0x80, payload: "x" }), 1002],
  ["a message within another", Buffer.concat([frame({ first: 0x01 }), text("x")]), 1002],
  ["a length of 16 bits that 7 would hold", frame({ first: wholeText, payload: "x", form: 16 }), 1002],
  ["a length of 64 bits that 16 would hold", frame({ first: wholeText, payload: "x".repeat(200), form: 64 }), 1002],
  ["text that is no UTF-8", text(Buffer.from([0xc3, 0x28])), 1007],
  [
    "text whose parts are no UTF-8",
    Buffer.concat([frame({ first: 1, payload: Buffer.from([0xc3]) }), frame({ first: 0x80 })]),
    1007,
  ],
  ["a message over the limit", text("x".repeat(100_001)), 1009],
  [
    "a message whose parts are over the limit",
    Buffer.concat([
      frame({ first: 1, payload: "x".repeat(60_000) }),
      frame({ first: 0x80, payload: "x".repeat(60_000) }),
    ]),
    1009,
  ],
  ["a length that lies", frame({ first: wholeText, says: 2 ** 50 }), 1009],
  ["a close of one byte", frame({ first: 0x88, payload: "x" }), 1002],
  ["a close with a code that is none", frame({ first: 0x88, payload: Buffer.from([0x03, 0xed]) }), 1002],
  ["a close whose reason is no UTF-8", frame({ first: 0x88, payload: Buffer.from([0x03, 0xe8, 0xff]) }), 1007],
])("closes for %s, and nobody else", async (_what, bytes, code) => {
  const messages: unknown[] = [];
  let closedCount = 0;
  const { port } = await startWeb({
    upgrade: accepting((socket) => ({
      message(content) {
        messages.push(content);
        socket.send(content);
      },
      drained() {},
      closed() {
        closedCount++;
      },
    })),
  });
  const other = await RawSocket.to(port);
  const client = await RawSocket.to(port);
  client.raw.write(Buffer.concat([bytes, text("never")]));
  expect(await client.closeCode()).toBe(code);
  expect(messages).toEqual([]);
  expect(closedCount).toBe(1);
  other.raw.write(text("still here"));
  await other.until(1);
  expect(other.texts).toEqual(["still here"]);
  other.raw.destroy();
});

test("refuses upgrades with plain answers", async () => {
  const { port } = await startWeb({
    upgrade: async (request) =>
      request.url.endsWith("/throws") ? Promise.reject(new Error("inside")) : reply(403, "no"),
  });
  const refusals: [string, number][] = [
    [upgradeRequest("/ws"), 403],
    [upgradeRequest("/throws"), 500],
    [upgradeRequest().replace("Version: 13", "Version: 8"), 426],
    [upgradeRequest().replace("dGhlIHNhbXBsZSBub25jZQ==", "short"), 400],
    [upgradeRequest("/ws", "Content-Length: 3\r\n"), 400],
  ];
  for (const [request, status] of refusals) {
    const client = await Raw.to(port);
    client.write(request);
    expect(statusesOf(await client.end())).toEqual([status]);
  }
  // What asks for something else stays a request.
  const plain = await Raw.to(port);
  plain.write(get("/ws", "Upgrade: websocket\r\nConnection: close\r\n"));
  expect(statusesOf(await plain.end())).toEqual([200]);
});

test("chooses a subprotocol", async () => {
  const { port } = await startWeb({ upgrade: accepting(echoing, { protocol: "cairn.v1" }) });
  const client = new WebSocket(`ws://127.0.0.1:${port}/`, ["other", "cairn.v1"]);
  await new Promise((resolve) => client.on("open", resolve));
  expect(client.protocol).toBe("cairn.v1");
  client.terminate();
});

test("drops a reader that takes nothing, and keeps no more for it than it may", async () => {
  let socket: Socket | undefined;
  let isClosed = false;
  const server = await startWeb({
    upgrade: accepting((given) => {
      socket = given;
      return { message() {}, drained() {}, closed: () => (isClosed = true) };
    }),
  });
  const client = await RawSocket.to(server.port);
  client.raw.socket.pause();
  let most = 0;
  for (let count = 0; count < 5_000 && !isClosed; count++) {
    socket?.send("x".repeat(10_000));
    most = Math.max(most, socket?.bufferedBytes ?? 0);
    if (count % 50 === 0) await delay(0);
  }
  expect(isClosed).toBe(true);
  expect(most).toBeGreaterThan(1_000_000);
  expect(most).toBeLessThan(1_020_000);
  socket?.send("after the end");
  await expect.poll(() => server.connections.webSocket).toBe(0);
  client.raw.socket.resume();
  await client.raw.end();
  expect(client.texts.at(-1)).not.toBe("after the end");
});

test("does not read what a client asks while it does not take the answers", async () => {
  let handled = 0;
  const server = await startWeb({
    limits: { sendQueueBytes: 50_000_000 },
    upgrade: accepting((socket) => ({
      message() {
        handled++;
        socket.send("x".repeat(100_000));
      },
      drained() {},
      closed() {},
    })),
  });
  const client = await RawSocket.to(server.port);
  client.raw.socket.pause();
  client.raw.write(Buffer.concat(Array.from({ length: 500 }, () => text("more"))));
  let before = -1;
  while (handled !== before) {
    before = handled;
    await delay(300);
  }
  expect(handled).toBeLessThan(300);
  client.raw.socket.resume();
  await expect.poll(() => handled).toBe(500);
  client.raw.destroy();
});

test("pauses and resumes what comes, at a message's end", async () => {
  const messages: unknown[] = [];
  let socket: Socket | undefined;
  const { port } = await startWeb({
    upgrade: accepting((given) => {
      socket = given;
      return {
        message(content) {
          messages.push(content);
          given.pause();
        },
        drained() {},
        closed() {},
      };
    }),
  });
  const client = await RawSocket.to(port);
  client.raw.write(Buffer.concat([text("1"), text("2"), text("3")]));
  for (const count of [1, 2, 3]) {
    await expect.poll(() => messages.length).toBe(count);
    await delay(30);
    expect(messages.length).toBe(count);
    socket?.resume();
  }
  expect(messages).toEqual(["1", "2", "3"]);
  client.raw.destroy();
});

test("pings who is silent, keeps who answers, and ends who does not", async () => {
  const server = await startWeb({ timeouts: { idleMs: 1_000 }, upgrade: accepting(echoing) });
  const vanished = await RawSocket.to(server.port);
  const alive = new WebSocket(`ws://127.0.0.1:${server.port}/ws`);
  await new Promise((resolve) => alive.on("open", resolve));
  expect(await vanished.closeCode()).toBe(undefined);
  expect(vanished.frames.map(({ opcode }) => opcode)).toEqual([9]);
  await delay(1_500);
  expect(alive.readyState).toBe(WebSocket.OPEN);
  expect(server.connections.webSocket).toBe(1);
  alive.terminate();
  await expect.poll(() => server.connections.webSocket).toBe(0);
});

test("ends who vanishes in the midst of a message, and gives back what it had taken", async () => {
  let kept = 0;
  let leftCount = 0;
  const server = await startWeb({
    keeps(_tenant, size) {
      if (size > 0 && kept + size > 90_000) return false;
      kept += size;
      return true;
    },
    left: () => leftCount++,
    upgrade: accepting(echoing),
  });
  const client = await RawSocket.to(server.port);
  client.raw.write(frame({ first: wholeText, payload: "x".repeat(80_000) }).subarray(0, 50_000));
  await expect.poll(() => kept).toBe(50_000);
  client.raw.socket.resetAndDestroy();
  await expect.poll(() => [kept, leftCount, server.connections.webSocket]).toEqual([0, 1, 0]);
  const greedy = await RawSocket.to(server.port);
  greedy.raw.write(frame({ first: wholeText, payload: "x".repeat(99_000) }).subarray(0, 98_000));
  expect(await greedy.closeCode()).toBe(1013);
  await expect.poll(() => kept).toBe(0);
});

test("ends the connections of a key that is revoked, and all with 1001 at the end", async () => {
  const revoking = new AbortController();
  let count = 0;
  const server = await startWeb({
    upgrade: async () => ({ principal: somebody(count++ === 0 ? revoking.signal : undefined), begin: echoing }),
  });
  const revoked = await RawSocket.to(server.port);
  const other = await RawSocket.to(server.port);
  revoking.abort();
  await revoked.until(1);
  revoked.raw.write(frame({ first: 0x88, payload: Buffer.from([0x03, 0xf0]) }));
  expect(await revoked.closeCode()).toBe(1008);
  const closed = server.close(5_000);
  await other.until(1);
  other.raw.write(frame({ first: 0x88, payload: Buffer.from([0x03, 0xe9]) }));
  expect(await other.closeCode()).toBe(1001);
  await closed;
});

test("waits for no client's close for long", async () => {
  const server = await startWeb({ upgrade: accepting(echoing) });
  const silent = await RawSocket.to(server.port);
  const startMs = performance.now();
  await server.close(30_000);
  expect(performance.now() - startMs).toBeLessThan(15_000);
  expect(await silent.closeCode()).toBe(1001);
});
