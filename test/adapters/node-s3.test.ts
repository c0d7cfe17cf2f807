/** Versioned snapshots in a bucket, over a server that speaks S3. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, createServer, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import S3rver from "@20minutes/s3rver";
import { S3Client } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, expect, test } from "vitest";
import { s3Remote } from "../../adapters/s3/index.ts";
import { MAIN } from "../cli/tool.ts";
import { failureOf, MANUAL } from "../store/backups.ts";
import { openTiny, restoreSnapshot } from "../store/harness.ts";
import { ImageDevice } from "../store/image-device.ts";

const folder = mkdtempSync(join(tmpdir(), "cairn-s3-"));
const credentials = { accessKeyId: "S3RVER", secretAccessKey: "S3RVER" };
let server: S3rver;
let config: { endpoint: string; region: string; forcePathStyle: boolean; credentials: typeof credentials };

beforeAll(async () => {
  server = new S3rver({
    address: "127.0.0.1",
    port: 0,
    silent: true,
    // It signs the path of a bucket with a slash at its end, which the client does not send.
    allowMismatchedSignatures: true,
    directory: join(folder, "buckets"),
    configureBuckets: [{ name: "snapshots", configs: [] }],
  });
  const { port } = await server.run();
  config = { endpoint: `http://127.0.0.1:${port}`, region: "us-east-1", forcePathStyle: true, credentials };
});

afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

async function large() {
  const store = await openTiny(new ImageDevice(), MANUAL);
  for (let i = 0; i < 60; i++) store.set(`key ${i}`, `${i}`.padEnd(20_000, "v"));
  return store;
}

test("pushed, listed, restored, deleted and collected", async () => {
  const remote = s3Remote({ bucket: "snapshots", prefix: "app/", config });
  const store = await large();
  const first = await store.pushSnapshot(remote, "first");
  expect(first.bytesSent).toBe(first.bytes);
  store.set("more", "x");
  const second = await store.pushSnapshot(remote, "second", { concurrency: 8 });
  expect(second.bytesSent).toBeLessThan(6 * 65_536);
  expect((await failureOf(store.pushSnapshot(remote, "second"))).code).toBe("INVALID_ARGUMENT");
  expect((await remote.list()).map(({ id, version }) => [id, version])).toEqual([
    ["first", first.version],
    ["second", second.version],
  ]);
  for (const [id, count] of [
    ["first", 60],
    ["second", 61],
    [undefined, 61],
  ] as const) {
    const device = new ImageDevice();
    await restoreSnapshot(remote, device, id);
    const back = await openTiny(device, MANUAL);
    expect(back.count()).toBe(count);
    expect((await back.verify()).faults).toEqual([]);
    await back.close();
  }
  expect(await remote.delete("first")).toBe(true);
  expect((await remote.gc()).pieces).toBeGreaterThan(0);
  expect(await remote.gc()).toEqual({ pieces: 0, bytes: 0 });
  const client = new S3Client(config);
  const same = s3Remote({ bucket: "snapshots", prefix: "app", client });
  expect((await same.list()).map(({ id }) => id)).toEqual(["second"]);
  client.destroy();
  await store.close();
});

test("what fails for a moment is tried again; what is refused is said", async () => {
  const target = new URL(config.endpoint);
  // Between client and server every third connection is cut off.
  let seen = 0;
  const sockets = new Set<Socket>();
  const proxy = createServer((incoming) => {
    sockets.add(incoming);
    if (seen++ % 3 === 0) {
      incoming.destroy();
      return;
    }
    const outgoing = new Socket().connect(Number(target.port), "127.0.0.1");
    incoming.pipe(outgoing).pipe(incoming);
    incoming.on("error", () => outgoing.destroy());
    outgoing.on("error", () => incoming.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const endpoint = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const store = await large();
  const remote = s3Remote({ bucket: "snapshots", prefix: "shaky", config: { ...config, endpoint, maxAttempts: 8 } });
  await store.pushSnapshot(remote, "a");
  expect(seen).toBeGreaterThan(1);
  const device = new ImageDevice();
  await restoreSnapshot(remote, device, "a");
  const back = await openTiny(device, MANUAL);
  expect(back.count()).toBe(60);
  await back.close();
  proxy.close();
  for (const socket of sockets) socket.destroy();
  const wrong = { ...config, credentials: { accessKeyId: "nobody", secretAccessKey: "x" } };
  expect((await failureOf(s3Remote({ bucket: "snapshots", config: wrong }).list())).code).toBe("DEVICE_READ");
  const missing = s3Remote({ bucket: "no-such-bucket", config });
  expect((await failureOf(store.pushSnapshot(missing, "a"))).code).toMatch(/^DEVICE_/);
  expect((await failureOf((async () => s3Remote({ bucket: "" }))())).code).toBe("INVALID_ARGUMENT");
  await store.close();
});

test("the tool takes s3:// and folders", async () => {
  const path = join(folder, "tool.cairn");
  const env = {
    ...process.env,
    AWS_ACCESS_KEY_ID: "S3RVER",
    AWS_SECRET_ACCESS_KEY: "S3RVER",
    AWS_REGION: "us-east-1",
    AWS_ENDPOINT_URL: config.endpoint,
  };
  const cairn = async (...words: string[]): Promise<string> =>
    (await promisify(execFile)("node", [MAIN, ...words], { env })).stdout;
  await cairn("set", path, "a", "1");
  const version = { version: 1 };
  expect(JSON.parse(await cairn("snapshot", "push", path, join(folder, "remote"), "one"))).toMatchObject(version);
  const remote = "s3://snapshots/tool";
  expect(JSON.parse(await cairn("snapshot", "push", path, remote, "one"))).toMatchObject(version);
  expect(JSON.parse(await cairn("snapshot", "list", remote))).toMatchObject({ id: "one", version: 1 });
  const back = join(folder, "tool-back.cairn");
  await cairn("snapshot", "restore", back, remote);
  expect(await cairn("get", back, "a")).toBe("1\n");
  await cairn("snapshot", "delete", remote, "one");
  expect(JSON.parse(await cairn("snapshot", "gc", remote)).pieces).toBeGreaterThan(0);
  expect(await cairn("snapshot", "delete", remote, "one").catch(({ code }) => code)).toBe(3);
});
