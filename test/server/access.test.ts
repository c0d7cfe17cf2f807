/** Keys, roles, tokens and certificates as the server's parts ask for them. */
import { afterEach, describe, expect, test } from "vitest";
import { Access, type AccessConfig } from "../../adapters/server/access/access.ts";
import { newApiKey } from "../../adapters/server/access/api-keys.ts";
import type { KeysFile } from "../../adapters/server/access/keys-format.ts";

const opened: Access[] = [];

async function accessOf(config: AccessConfig): Promise<Access> {
  const access = await Access.open(config);
  opened.push(access);
  return access;
}

afterEach(async () => {
  for (const access of opened.splice(0)) await access.close();
});

const admin = newApiKey();
const orders = newApiKey();
const FILE: KeysFile = {
  tenants: { acme: {}, other: { namespace: "o" } },
  roles: { orders: [{ prefix: "order:", verbs: ["read", "write", "watch"] }] },
  keys: {
    [admin.id]: { tenant: "acme", role: "admin", sha256: admin.sha256 },
    [orders.id]: { tenant: "other", role: "orders", sha256: orders.sha256 },
  },
};

describe("an API key", () => {
  test("stands for its tenant and role", async () => {
    const access = await accessOf({ keys: FILE });
    expect(admin.text).toMatch(/^cairn_[a-z0-9]{12}_[A-Za-z0-9_-]{43}$/);
    const principal = access.authenticate(admin.text);
    expect(principal).toMatchObject({ id: admin.id, tenant: "acme", subscribes: undefined });
    expect(access.authenticate(admin.text)).toBe(principal);
    expect(access.authenticate(orders.text)?.may("write", "order:1")).toBe(true);
    expect(access.authenticate(orders.text)?.may("write", "user:1")).toBe(false);
    expect(access.authenticate(orders.text)?.may("delete", "order:1")).toBe(false);
  });
});

describe("a token", () => {
  test("allows what its pattern and its key allow", async () => {
    const access = await accessOf({ keys: FILE });
    const principal = access.authenticate(orders.text);
    if (principal === undefined) throw new Error("no principal");
    const { token } = access.issueToken(principal, { subscribePatterns: ["order:*"], accessPattern: "1$" });
    expect(token).toMatch(/^[A-Za-z0-9_.-]+$/);
    const shown = access.verifyToken(token);
    expect(shown?.may("read", "order:1")).toBe(true);
    expect(shown?.may("read", "order:2")).toBe(false);
    expect(shown?.may("read", "user:1")).toBe(false);
    expect(shown?.subscribes?.("order:2")).toBe(true);
    expect(shown?.subscribes?.("user:1")).toBe(false);
    const [id, payload, mac = ""] = token.split(".");
    expect(access.verifyToken(`${id}.${payload}.${mac.startsWith("A") ? "B" : "A"}${mac.slice(1)}`)).toBeUndefined();
  });
});
