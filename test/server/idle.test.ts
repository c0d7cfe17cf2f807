/** Ten thousand connections that do nothing. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { expect, onTestFinished, test } from "vitest";
import { get, Raw, statusesOf } from "./raw.ts";
import { startWeb } from "./web.ts";

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

test(`holds ${COUNT} idle connections, answers others at once, and keeps little for each`, async () => {
  const server = await startWeb({ timeouts: { headerMs: 120_000, idleMs: 120_000 } });
  const clients = spawn("node", ["-e", CLIENTS, String(server.port), String(COUNT)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  onTestFinished(() => void clients.kill("SIGKILL"));
  const lines = createInterface({ input: clients.stdout })[Symbol.asyncIterator]();
  const said = async (): Promise<string> => String((await lines.next()).value);
  const beforeSize = process.memoryUsage().rss;
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
  clients.stdin.write(`${get("/").replaceAll("\r\n", "~")}\n`);
  expect(await said()).toBe("sent");
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  expect(await asked()).toBeLessThan(5_000);
  const perConnection = (process.memoryUsage().rss - beforeSize) / COUNT;
  expect(perConnection).toBeLessThan(40_000);
  clients.stdin.write("closed\n");
  expect(await said()).toBe("closed 0");
  clients.kill("SIGKILL");
  await expect.poll(() => server.connections.http, { timeout: 60_000 }).toBe(0);
});
