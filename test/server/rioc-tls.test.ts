/** RIOC over TLS: whose certificate it is says whose records are served, and nothing older than TLS 1.3 is spoken. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { KeysFile } from "../../adapters/server/config.ts";
import { authority, type Certificate, signed } from "./certificates.ts";
import { batch, joined, operation, RiocClient } from "./rioc-client.ts";
import { type RiocServer, riocServer } from "./rioc-server.ts";

let folder: string;
let ca: Certificate;
let own: Certificate;
let first: Certificate;
let reader: Certificate;
let stranger: Certificate;
let outsider: Certificate;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "cairn-certificates-"));
  ca = authority(folder, "ca");
  own = signed(folder, "server", "ca");
  first = signed(folder, "first", "ca");
  reader = signed(folder, "reader", "ca");
  stranger = signed(folder, "stranger", "ca");
  outsider = authority(folder, "outsider");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function keys(): KeysFile {
  return {
    version: 1,
    tenants: { one: {}, two: {} },
    roles: {},
    keys: {},
    certificates: {
      [first.fingerprint]: { tenant: "two", role: "writer" },
      [reader.fingerprint]: { tenant: "two", role: "reader" },
      [outsider.fingerprint]: { tenant: "one", role: "writer" },
    },
  } as unknown as KeysFile;
}

async function serving(requestClient: boolean, riocTenant?: string): Promise<RiocServer> {
  const tls = { cert: own.cert, key: own.key, ca: requestClient ? ca.cert : undefined };
  return riocServer({ keys: keys(), riocTenant, tls: { ...tls, requestClient } }, tls);
}

function shown({ cert, key }: Certificate): { ca: string; cert: string; key: string } {
  return { ca: ca.cert, cert, key };
}

/** Whether the server takes the connection: it answers, or ends it. */
async function isTaken(server: RiocServer, certificate?: Certificate): Promise<boolean> {
  try {
    const tls = certificate === undefined ? { ca: ca.cert } : shown(certificate);
    const client = await RiocClient.open(server.listener.port, tls);
    await client.send(joined(batch(1), operation(1, "nothing")));
    const { status } = await client.reply();
    await client.close();
    return status === -6;
  } catch {
    return false;
  }
}

test("a certificate of the authority serves its tenant by its role, any other is refused", async () => {
  const server = await serving(true);
  try {
    const client = await RiocClient.open(server.listener.port, shown(first));
    const value = "v".repeat(102_400);
    await client.send(joined(batch(2), operation(2, "k", value), operation(1, "k")), 5000);
    expect(await client.reply()).toMatchObject({ status: 0, size: 0 });
    expect(Buffer.from((await client.reply()).body).toString()).toBe(value);
    expect(await server.operations.get("k")).toBeUndefined();
    expect(server.store.sub("two").get("k")).toBe(value);
    await client.close();

    const readOnly = await RiocClient.open(server.listener.port, shown(reader));
    await readOnly.send(joined(batch(2), operation(1, "k"), operation(2, "k", "changed")));
    expect(await readOnly.reply()).toMatchObject({ status: 0, size: 102_400 });
    expect(await readOnly.reply()).toMatchObject({ status: -1, size: 0 });
    await readOnly.close();

    expect(await isTaken(server, stranger), "signed, but not in the keys file").toBe(false);
    expect(await isTaken(server, outsider), "in the keys file, but not signed").toBe(false);
    expect(await isTaken(server), "none").toBe(false);
    expect(await isTaken(server, first)).toBe(true);
  } finally {
    await server.close();
  }
});

test("without an authority a certificate counts by its fingerprint, and one without goes to the tenant of the configuration", async () => {
  const server = await serving(false, "one");
  try {
    expect(await isTaken(server, outsider)).toBe(true);
    expect(await isTaken(server)).toBe(true);
    const client = await RiocClient.open(server.listener.port, { ca: ca.cert });
    await client.send(joined(batch(1), operation(2, "k", "v")));
    expect(await client.reply()).toMatchObject({ status: 0 });
    expect(await server.operations.get("k")).toBe("v");
    await client.close();
  } finally {
    await server.close();
  }
});

test("TLS 1.2 is refused", async () => {
  const server = await serving(true);
  try {
    await expect(
      RiocClient.open(server.listener.port, { ...shown(first), maxVersion: "TLSv1.2" }).then(async (client) => {
        await client.send(joined(batch(1), operation(1, "k")));
        return client.reply();
      }),
    ).rejects.toThrow();
  } finally {
    await server.close();
  }
});

test("a client that has said goodbye is said goodbye to: clients wait for that", async () => {
  const server = await serving(true);
  try {
    const client = await RiocClient.open(server.listener.port, shown(first));
    await client.send(joined(batch(1), operation(1, "k")));
    await client.reply();
    client.socket.end();
    // Clients wait for the server's close before they let go.
    await client.closed;
  } finally {
    await server.close();
  }
});
