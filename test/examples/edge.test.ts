/**
 * The service of examples/edge over the packed package, started with the commands of its Dockerfiles: on a file and on a
 * loop device, killed and started again.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, existsSync, mkdirSync, readFileSync, realpathSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { privilegeMissing, run as runTool } from "../hosts/scratch.ts";
import { freePort, installPacked, peer, peerMissing, ROOT, temporaryFolder } from "../packaging/project.ts";

const EXAMPLE = join(ROOT, "examples/edge");
const DEVICE_SIZE = 16 * 1024 * 1024;
const folder = realpathSync(temporaryFolder());
const running = new Set<ChildProcess>();
const loops: string[] = [];

interface Service {
  process: ChildProcess;
  origin: string;
}

beforeAll(() => {
  installPacked(folder);
  copyFileSync(join(EXAMPLE, "server.ts"), join(folder, "server.ts"));
});

afterEach(async () => {
  for (const child of running) await end(child, "SIGKILL");
});

afterAll(() => {
  for (const loop of loops) runTool("losetup", ["-d", loop]);
});

/** The instruction CMD of a Dockerfile. */
function commandOf(dockerfile: string): string[] {
  const text = readFileSync(join(EXAMPLE, dockerfile), "utf8");
  return JSON.parse(/^CMD (\[.*\])$/m.exec(text)?.[1] as string);
}

/** The command for this machine: its folders, its port, its runtime. */
async function start(command: readonly string[], store: string, data: string): Promise<Service> {
  const port = await freePort();
  const [file, ...args] = command.map((word) =>
    word.replaceAll("/data", data).replaceAll("/app/", `${folder}/`).replaceAll("0.0.0.0:8080", `127.0.0.1:${port}`),
  ) as [string, ...string[]];
  const child = spawn(peer(file), args, {
    cwd: folder,
    env: { ...process.env, CAIRN_STORE: store, PORT: String(port), HOST: "127.0.0.1", NO_COLOR: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  child.once("exit", () => running.delete(child));
  let err = "";
  child.stderr.on("data", (chunk) => {
    err += chunk;
  });
  let out = "";
  for await (const chunk of child.stdout.iterator({ destroyOnReturn: false })) {
    out += chunk;
    if (out.includes("\n")) break;
  }
  expect(out, err).toBe(`serving ${store} on http://127.0.0.1:${port}\n`);
  return { process: child, origin: `http://127.0.0.1:${port}` };
}

/** Sends a signal, and gives the exit status once the process has ended. */
async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    const exit = once(child, "exit");
    child.kill(signal);
    await exit;
  }
  return child.exitCode;
}

async function get(service: Service, key: string): Promise<string | number> {
  const answer = await fetch(`${service.origin}/keys/${key}`);
  return answer.status === 200 ? answer.text() : answer.status;
}

async function put(service: Service, key: string, body: string): Promise<number> {
  return (await fetch(`${service.origin}/keys/${key}`, { method: "PUT", body })).status;
}

/** A PUT of which `finish` sends the second half of the body. */
function beginPut(service: Service, key: string): { part: string; writing: Promise<Response>; finish(): void } {
  const part = "x".repeat(100_000);
  const bytes = new TextEncoder().encode(part);
  let finish = (): void => {};
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(bytes);
      finish = () => {
        controller.enqueue(bytes);
        controller.close();
      };
    },
  });
  const init: RequestInit & { duplex: "half" } = { method: "PUT", body, duplex: "half" };
  return { part, writing: fetch(`${service.origin}/keys/${key}`, init), finish };
}

/** What was acknowledged is there after SIGKILL, and a service that is told to end ends with its requests answered. */
async function killAndReturn(command: readonly string[], store: string, data: string): Promise<void> {
  const first = await start(command, store, data);
  expect((await fetch(`${first.origin}/health`)).status).toBe(200);
  expect(await put(first, "user:1", "Ada ∆")).toBe(204);
  expect(await put(first, "user:2", "Grace")).toBe(204);
  expect((await fetch(`${first.origin}/keys/user:2`, { method: "DELETE" })).status).toBe(204);
  await end(first.process, "SIGKILL");

  const second = await start(command, store, data);
  expect(await get(second, "user:1")).toBe("Ada ∆");
  expect(await get(second, "user:2")).toBe(404);
  expect(await (await fetch(`${second.origin}/health`)).json()).toEqual({ status: "ok", records: 1 });
  const { part, writing, finish } = beginPut(second, "large");
  await new Promise((resolve) => setTimeout(resolve, 300));
  const ended = end(second.process, "SIGTERM");
  await new Promise((resolve) => setTimeout(resolve, 100));
  finish();
  expect((await writing).status).toBe(204);
  expect(await ended).toBe(0);
  expect(existsSync(`${store}.lock`)).toBe(false);

  const third = await start(command, store, data);
  expect(await get(third, "large")).toBe(part + part);
  expect(await end(third.process, "SIGTERM")).toBe(0);
}

describe.for([
  { runtime: "Deno", name: "deno", deviceCommand: ["deno", "run", "--allow-all", "server.ts"] },
  { runtime: "Bun", name: "bun", deviceCommand: ["bun", "server.ts"] },
])("the service on $runtime", ({ name, deviceCommand }) => {
  const missing = peerMissing(name);
  const command = commandOf(`Dockerfile.${name}`);

  test("keeps what it acknowledged in a file on a volume when it is killed", async (context) => {
    if (missing !== undefined) context.skip(missing);
    const data = join(folder, `data-${name}`);
    mkdirSync(data);
    await killAndReturn(command, join(data, "app.cairn"), data);
  });

  test("keeps what it acknowledged on a block device when it is killed", async (context) => {
    const reason = missing ?? privilegeMissing();
    if (reason !== undefined) context.skip(reason);
    const image = join(folder, `${name}.image`);
    writeFileSync(image, "");
    truncateSync(image, DEVICE_SIZE * 2);
    const attached = runTool("losetup", ["-f", "--show", image]);
    if ("failure" in attached) context.skip(`needs loop devices (${attached.failure})`);
    else {
      loops.push(attached.output);
      await killAndReturn(deviceCommand, attached.output, folder);
    }
  });

  test("answers what it cannot do with a status that says so", async (context) => {
    if (missing !== undefined) context.skip(missing);
    const data = join(folder, `refusals-${name}`);
    mkdirSync(data);
    const service = await start(command, join(data, "app.cairn"), data);
    expect(await put(service, "k".repeat(2049), "")).toBe(414);
    expect(await put(service, "", "no key")).toBe(414);
    expect(await get(service, "%ff")).toBe(400);
    expect(await get(service, "absent")).toBe(404);
    expect((await fetch(`${service.origin}/keys/absent`, { method: "DELETE" })).status).toBe(404);
    expect((await fetch(`${service.origin}/keys/user:1`, { method: "POST", body: "" })).status).toBe(405);
    expect((await fetch(`${service.origin}/`)).status).toBe(404);
  });
});

test("the README's command for a block device under Deno is the one that was tested", () => {
  const readme = readFileSync(join(EXAMPLE, "README.md"), "utf8");
  expect(readme).toContain(" service deno run --allow-all server.ts\n");
});

test("the Dockerfiles take the versions of the runtimes that are tested", () => {
  const { dependencies } = JSON.parse(readFileSync(join(ROOT, "test/peers/package.json"), "utf8"));
  for (const name of ["deno", "bun"]) {
    const from = readFileSync(join(EXAMPLE, `Dockerfile.${name}`), "utf8").split("\n")[0] as string;
    expect(from.split(":")[1]).toBe(dependencies[name]);
  }
});
