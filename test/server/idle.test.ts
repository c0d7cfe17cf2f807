/** Ten thousand connections that do nothing. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { expect, onTestFinished, test } from "vitest";
import { RawSocket, text, upgradeRequest } from "./frames.ts";
import { get, Raw, statusesOf } from "./raw.ts";
import { batch, joined, operation, RiocClient } from "./rioc-client.ts";
import { riocServer } from "./rioc-server.ts";
import { somebody, startWeb } from "./web.ts";

const COUNT = 10_000;

/** A process that keeps connections open: its end of them counts for its own limit of files. */
const CLIENTS = `
const net = require("node:net");
const { createInterface } = require("node:readline");
const [port, count] = process.argv.slice(1).map(Number);
const sockets = [];
let open = 0;
let closed = 0;
function more() {
  if (sockets.length >= count) return;
  const socket = net.connect({ port, host: "127.0.0.1" }, () => {
    if (++open === count) console.log("open");
    more();
  });
  socket.on("close", () => { closed++; });
  socket.on("error", (error) => { console.log("error " + error.message); });
  sockets.push(socket);
}
for (let lane = 0; lane < 100; lane++) more();
createInterface({ input: process.stdin }).on("line", (line) => {
  if (line === "closed") console.log("closed " + closed);
  else { for (const socket of sockets) socket.write(line.replaceAll("~", "\\r\\n")); console.log("sent"); }
});
`;

/** A process with so many connections to `port`, and what it says. */
function clientsOf(port: number): { tell(line: string): void; said(): Promise<string>; end(): void } {
  const clients = spawn("node", ["-e", CLIENTS, String(port), String(COUNT)], { stdio: ["pipe", "pipe", "inherit"] });
  onTestFinished(() => void clients.kill("SIGKILL"));
  const lines = createInterface({ input: clients.stdout })[Symbol.asyncIterator]();
  return {
    tell: (line) => void clients.stdin.write(`${line}\n`),
    said: async () => String((await lines.next()).value),
    end: () => void clients.kill("SIGKILL"),
  };
}

test(`holds ${COUNT} idle connections, answers others at once, and keeps little for each`, async () => {
  const server = await startWeb({ timeouts: { headerMs: 120_000, idleMs: 120_000 } });
  const beforeSize = process.memoryUsage().rss;
  const { tell, said, end } = clientsOf(server.port);
  expect(await said()).toBe("open");
  await expect.poll(() => server.connections.http).toBe(COUNT);
  const asked = async (): Promise<number> => {
    const startMs = performance.now();
    const client = await Raw.to(server.port);
    client.write(get("/", "connection: close\r\n"));
    expect(statusesOf(await client.end())).toEqual([200]);
    return performance.now() - startMs;
  };
  expect(await asked()).toBeLessThan(2_000);
  // Each has asked once, and idles again.
  tell(get("/").replaceAll("\r\n", "~"));
  expect(await said()).toBe("sent");
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  expect(await asked()).toBeLessThan(5_000);
  const perConnection = (process.memoryUsage().rss - beforeSize) / COUNT;
  expect(perConnection).toBeLessThan(40_000);
  tell("closed");
  expect(await said()).toBe("closed 0");
  end();
  await expect.poll(() => server.connections.http, { timeout: 60_000 }).toBe(0);
});

test(`holds ${COUNT} idle WebSockets, answers others at once, and keeps little for each`, async () => {
  const server = await startWeb({
    timeouts: { headerMs: 120_000, idleMs: 600_000 },
    upgrade: () => ({
      principal: somebody(),
      begin: (socket) => ({ message: (text) => socket.send(text), drained: () => {}, closed: () => {} }),
    }),
  });
  const beforeSize = process.memoryUsage().rss;
  const { tell, said, end } = clientsOf(server.port);
  expect(await said()).toBe("open");
  tell(upgradeRequest().replaceAll("\r\n", "~"));
  expect(await said()).toBe("sent");
  await expect.poll(() => server.connections.webSocket, { timeout: 60_000 }).toBe(COUNT);
  const other = await RawSocket.to(server.port);
  other.raw.write(text("asked"));
  await other.until(1);
  expect(other.texts).toEqual(["asked"]);
  other.raw.destroy();
  expect((process.memoryUsage().rss - beforeSize) / COUNT).toBeLessThan(40_000);
  tell("closed");
  expect(await said()).toBe("closed 0");
  end();
  await expect.poll(() => server.connections.webSocket, { timeout: 60_000 }).toBe(0);
});

test(`holds ${COUNT} idle connections of RIOC, answers others at once, and keeps little for each`, async () => {
  const server = await riocServer();
  onTestFinished(() => server.close());
  const beforeSize = process.memoryUsage().rss;
  const { tell, said, end } = clientsOf(server.listener.port);
  expect(await said()).toBe("open");
  await expect.poll(() => server.inFlight.connections, { timeout: 60_000 }).toBe(COUNT);
  const other = await RiocClient.open(server.listener.port);
  await other.send(joined(batch(2), operation(2, "k", "v"), operation(1, "k")));
  expect((await other.reply()).status).toBe(0);
  expect(Buffer.from((await other.reply()).body).toString()).toBe("v");
  await other.close();
  expect((process.memoryUsage().rss - beforeSize) / COUNT).toBeLessThan(60_000);
  tell("closed");
  expect(await said()).toBe("closed 0");
  end();
  await expect.poll(() => server.inFlight.connections, { timeout: 60_000 }).toBe(0);
});
