/** Keys, roles, tokens and certificates as the server's parts ask for them. */
import { describe, expect, test } from "vitest";
import { newApiKey } from "../../adapters/server/access/api-keys.ts";
import { BUILT_IN_ROLES, type KeysFile, type RoleRule } from "../../adapters/server/access/keys-format.ts";
import { Role } from "../../adapters/server/access/roles.ts";
import { ServerFailure } from "../../adapters/server/failure.ts";
import { type Principal, shownOf, VERBS, type Verb } from "../../adapters/server/principal.ts";
import { accessOf, auditLog, fileOf, principalOf, shown } from "./access-keys.ts";

const bytes = (...codes: number[]) => Uint8Array.from(codes);
const utf8 = (text: string) => new TextEncoder().encode(text);

/** The status and words of a `ServerFailure`. */
function failure(call: () => unknown): { status: number; message: string } {
  try {
    call();
  } catch (error) {
    expect(error).toBeInstanceOf(ServerFailure);
    return error as ServerFailure;
  }
  throw new Error("it was allowed");
}

describe("an API key", () => {
  test("is random, safe in a URL, and stands for its tenant", async () => {
    const { file, id, text } = fileOf();
    expect(text).toMatch(new RegExp(`^cairn_${id}_[A-Za-z0-9_-]{43}$`));
    const texts = new Set(Array.from({ length: 200 }, () => newApiKey().text.slice(-43)));
    expect(texts.size).toBe(200);
    const access = await accessOf({ keys: file });
    const principal = access.authenticate(text);
    expect(principal).toMatchObject({ id, tenant: "acme", subscribes: undefined });
    expect(access.authenticate(text)).toBe(principal);
    expect(JSON.stringify(file)).not.toContain(text.slice(-43));
  });

  test("counts as a whole only", async () => {
    const { file, id, text } = fileOf();
    const access = await accessOf({ keys: file });
    access.authenticate(text);
    const secret = text.slice(-43);
    const wrong = [
      "",
      id,
      secret,
      text.slice(0, -1),
      `${text}x`,
      ` ${text}`,
      text.toUpperCase(),
      `cairn_${id}_${"A".repeat(43)}`,
      `cairn_${newApiKey().id}_${secret}`,
      `cairn_${id}_${secret.slice(0, -1)}${secret.endsWith("A") ? "B" : "A"}`,
      `cairn___proto___${secret}`,
      "x".repeat(1_000_000),
    ];
    for (const other of wrong) expect(access.authenticate(other)).toBeUndefined();
    expect(access.authenticate(text)).toBeDefined();
  });

  test("ends when it expires, and so does what it let in", async () => {
    const { file, text } = fileOf({ expires: new Date(Date.now() + 600).toISOString() });
    const access = await accessOf({ keys: file });
    const principal = shown(access.authenticate(text));
    const { token, expiresAt } = access.issueToken(principal, { accessPattern: "." });
    expect(expiresAt).toBeLessThanOrEqual(Date.now() + 600);
    expect(access.verifyToken(token)).toBeDefined();
    expect(principal.revoked.aborted).toBe(false);
    await expect.poll(() => principal.revoked.aborted).toBe(true);
    expect(access.authenticate(text)).toBeUndefined();
    expect(access.verifyToken(token)).toBeUndefined();
    expect(failure(() => access.issueToken(principal, {})).status).toBe(403);
  });

  test("that was shown before costs a look-up", async () => {
    const { file, text } = fileOf();
    const access = await accessOf({ keys: file });
    const count = 200_000;
    const start = performance.now();
    for (let at = 0; at < count; at++) access.authenticate(text);
    const nanoseconds = ((performance.now() - start) * 1e6) / count;
    // About 100 here; hashing alone would take 1,500 and more.
    console.log(`${nanoseconds.toFixed(0)} ns`);
    expect(nanoseconds).toBeLessThan(5_000);
  });
});

describe("a role", () => {
  test("that every file has", async () => {
    const verbsOf = (role: string) => {
      const asked = new Role(BUILT_IN_ROLES[role] ?? []);
      return VERBS.filter((verb) => asked.mayAll(verb));
    };
    expect(verbsOf("admin")).toEqual([...VERBS]);
    expect(verbsOf("reader")).toEqual(["read", "range", "watch"]);
    expect(verbsOf("writer")).toEqual(["read", "write", "delete", "range", "watch"]);
  });

  test("allows verbs by the prefixes of keys, of text and of bytes", async () => {
    const principal = await principalOf([
      { prefix: "order:", verbs: ["read", "write"] },
      { prefix: "é", verbs: ["read"] },
      { prefix: "all:", verbs: ["admin"] },
    ]);
    for (const form of [(text: string) => text, utf8]) {
      expect(principal.may("read", form("order:1"))).toBe(true);
      expect(principal.may("write", form("order:"))).toBe(true);
      expect(principal.may("read", form("order"))).toBe(false);
      expect(principal.may("delete", form("order:1"))).toBe(false);
      expect(principal.may("read", form("xorder:1"))).toBe(false);
      expect(principal.may("read", form("éa"))).toBe(true);
      expect(principal.may("read", form("e"))).toBe(false);
      for (const verb of VERBS) expect(principal.may(verb, form("all:1"))).toBe(true);
    }
    expect(principal.may("read", bytes(0xc3))).toBe(false);
    for (const verb of VERBS) expect(principal.mayAll(verb)).toBe(false);
  });

  test("allows a range exactly when it allows every key of it", () => {
    const letters = ["a", "b", "c", "d"];
    const prefixes = ["", ...letters, ...letters.flatMap((one) => letters.map((two) => one + two))];
    // One letter more than prefixes have: what lies behind all that begin with "ad" and before "b".
    const more = [...letters, "e"];
    const two = more.flatMap((one) => more.map((other) => one + other));
    const keys = [...more, ...two, ...two.flatMap((pair) => more.map((third) => pair + third))].sort();
    const ends = [...prefixes.slice(1), "abc", "dd"];
    let state = Date.now() % 2 ** 31;
    console.log(`seed ${state}`);
    const draw = (count: number) => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return (state >>> 8) % count;
    };
    let allowedCount = 0;
    for (let run = 0; run < 400; run++) {
      const own = Array.from({ length: 1 + draw(4) }, () => prefixes[draw(prefixes.length)] as string);
      const role = new Role(own.map((prefix) => ({ prefix, verbs: ["range"] })));
      for (let left = 0; left < 40; left++) {
        const start = ends[draw(ends.length)] as string;
        const end = ends[draw(ends.length)] as string;
        const isAllowed = keys.every((key) => key < start || key > end || own.some((prefix) => key.startsWith(prefix)));
        for (const form of [(text: string) => text, utf8]) {
          const told = role.mayRange("range", form(start), form(end));
          if (told !== isAllowed) expect([own, start, end, told]).toEqual([own, start, end, isAllowed]);
        }
        if (isAllowed) allowedCount += 1;
      }
      expect(role.mayRange("range", "a", undefined)).toBe(own.includes(""));
      expect(role.mayRange("range", undefined, "a")).toBe(own.includes(""));
      expect(role.mayRange("read", "a", "a")).toBe(false);
    }
    expect(allowedCount).toBeGreaterThan(500);
  });

  test("allows ranges to where its prefixes end, in the order of bytes", async () => {
    const principal = await principalOf([{ prefix: "order:", verbs: ["range"] }]);
    const may = (start?: string | Uint8Array, end?: string | Uint8Array) => principal.mayRange("range", start, end);
    expect(may("order:", "order:\uffff")).toBe(true);
    expect(may("order:", "order:😀")).toBe(true);
    expect(may("order:a", "order:b")).toBe(true);
    expect(may("order:", "order;")).toBe(false);
    expect(may("order", "order:z")).toBe(false);
    expect(may("order:", undefined)).toBe(false);
    expect(may(undefined, "order:z")).toBe(false);
    expect(may(utf8("order:"), bytes(...utf8("order:"), 0xff, 0xff))).toBe(true);
    expect(may("z", "a")).toBe(true);
    const accented = await principalOf([{ prefix: "\u{10ffff}", verbs: ["range"] }]);
    expect(accented.mayRange("range", "\u{10ffff}a", bytes(0xf4, 0x8f, 0xbf, 0xbf, 0xff))).toBe(true);
    expect(accented.mayRange("range", "\u{10ffff}a", bytes(0xf4, 0x8f, 0xbf, 0xc0))).toBe(false);
  });

  test("shows a range wholly or refuses it", async () => {
    const principal = await principalOf([{ prefix: "a", verbs: ["range"] }]);
    expect(shownOf(principal, "range", "a", "az")).toBe(true);
    expect(shownOf(principal, "range", "a", "b")).toBe(false);
    expect(shownOf(principal, "read", "a", "az")).toBe(false);
    expect(shownOf(principal, "range", "a", undefined)).toBe(false);
  });
});

describe("a tenant", () => {
  const files: [what: string, tenants: KeysFile["tenants"], isOperator: boolean][] = [
    ["alone", { acme: {} }, true],
    ["beside another", { acme: {}, other: {} }, false],
    ["that is said to", { acme: { operator: true }, other: {} }, true],
    ["that is said not to", { acme: { operator: false } }, false],
  ];
  test.each(files)("%s sees to the store as a whole, or not", async (_what, tenants, isOperator) => {
    const { file, text } = fileOf({}, { tenants: tenants ?? {} });
    const access = await accessOf({ keys: file });
    const principal = shown(access.authenticate(text));
    expect(principal.mayAll("admin")).toBe(isOperator);
    expect(principal.mayAll("delete")).toBe(true);
    expect(principal.may("admin", "k")).toBe(true);
  });

  test("has its namespace and its limits", async () => {
    const { file } = fileOf({}, { tenants: { acme: {}, plain: { namespace: "", limits: { burst: 3 } } } });
    const access = await accessOf({ keys: file });
    expect(access.tenant("acme")).toEqual({ name: "acme", namespace: "acme", operator: false, limits: undefined });
    expect(access.tenant("plain")).toEqual({ name: "plain", namespace: "", operator: false, limits: { burst: 3 } });
    expect(access.tenants()).toHaveLength(2);
    expect(failure(() => access.tenant("constructor")).status).toBe(403);
  });

  test("of the store's own keys reaches no namespace of others by bytes", async () => {
    const { file, text } = fileOf({}, { tenants: { acme: { namespace: "" } } });
    const principal = shown((await accessOf({ keys: file })).authenticate(text));
    expect(principal.may("read", bytes(0xff, 0x61, 0xff, 0x6b))).toBe(false);
    expect(principal.mayRange("range", bytes(0), bytes(0xff, 0xff))).toBe(false);
    expect(principal.mayRange("range", bytes(0), bytes(0xfe))).toBe(true);
    const apart = fileOf();
    const other = shown((await accessOf({ keys: apart.file })).authenticate(apart.text));
    expect(other.may("read", bytes(0xff, 0x61))).toBe(true);
  });
});

describe("a token", () => {
  const RULES: RoleRule[] = [{ prefix: "order:", verbs: ["read", "write", "range", "watch"] }];

  async function tokens(rules: RoleRule[] = RULES, config: { tokenLifetimeMs?: number } = {}) {
    const log = auditLog();
    const { file, text, id } = fileOf({ role: "own" }, { roles: { own: rules } });
    const access = await accessOf({ ...config, keys: file, audit: log.audit });
    const key = shown(access.authenticate(text));
    const shownBy = (asked: object): Principal => shown(access.verifyToken(access.issueToken(key, asked).token));
    return { access, key, id, log, shownBy, file };
  }

  test("is safe in a URL, is used again, and carries tenant and key", async () => {
    const { access, key, id } = await tokens();
    const { token, expiresAt } = access.issueToken(key, { subscribeKeys: ["order:1"], accessPattern: "^order:" });
    expect(token).toMatch(/^[A-Za-z0-9_.-]+$/);
    expect(Math.abs(expiresAt - Date.now() - 7_200_000)).toBeLessThan(60_000);
    const first = access.verifyToken(token);
    expect(first).toMatchObject({ id, tenant: "acme" });
    expect(access.verifyToken(token)).toBe(first);
    expect(failure(() => access.issueToken(shown(first), {})).status).toBe(403);
  });

  test("allows what both its pattern and its key allow, and no whole ranges", async () => {
    const { shownBy } = await tokens();
    const token = shownBy({ subscribePatterns: ["user:*"], accessPattern: "1$" });
    expect(token.may("read", "order:1")).toBe(true);
    expect(token.may("read", utf8("order:1"))).toBe(true);
    expect(token.may("read", "order:2")).toBe(false);
    expect(token.may("read", "user:1")).toBe(false);
    expect(token.may("delete", "order:1")).toBe(false);
    expect(token.may("read", bytes(...utf8("order:"), 0xff, 0x31))).toBe(false);
    expect(token.mayRange("range", "order:1", "order:1")).toBe(true);
    expect(token.mayRange("range", "order:1", "order:31")).toBe(false);
    for (const verb of VERBS) expect(token.mayAll(verb)).toBe(false);
  });

  test("is never an admin", async () => {
    const { shownBy } = await tokens([{ prefix: "", verbs: ["admin"] }]);
    const token = shownBy({ accessPattern: ".*" });
    expect(VERBS.filter((verb) => token.may(verb, "k"))).toEqual(VERBS.filter((verb) => verb !== "admin"));
    expect(token.mayAll("admin")).toBe(false);
  });

  test("is shown of a range what its pattern allows, when both ends are allowed", async () => {
    const { shownBy } = await tokens();
    const token = shownBy({ accessPattern: "^order:[ac]" });
    const filter = shownOf(token, "range", "order:a", "order:c");
    if (typeof filter !== "function") throw new Error("no filter");
    expect(["order:a", "order:b", "order:c"].map((key) => filter(key))).toEqual([true, false, true]);
    expect(shownOf(token, "range", "order:a", "order:b")).toBe(false);
    expect(shownOf(token, "range", "order:", "order:c")).toBe(false);
    expect(shownOf(token, "range", "order:a", undefined)).toBe(false);
    expect(shownOf(token, "delete", "order:a", "order:c")).toBe(false);
  });

  test("without a pattern allows the keys of its subscription", async () => {
    const { shownBy } = await tokens();
    const token = shownBy({ subscribeKeys: ["order:1"], subscribePatterns: ["order:a:*", "^order:[0-9]{3}$"] });
    const allowed = (key: string) => token.may("read", key);
    expect(["order:1", "order:a:b", "order:123"].map(allowed)).toEqual([true, true, true]);
    expect(["order:2", "order:12", "order:", "order:a"].map(allowed)).toEqual([false, false, false, false]);
    const none = shownBy({});
    expect(none.may("read", "order:1")).toBe(false);
    expect(none.subscribes?.("order:1")).toBe(false);
    expect(shownBy({ subscribeKeys: null, subscribePatterns: [], accessPattern: null }).may("read", "order:1")).toBe(
      false,
    );
  });

  test("is told of what it subscribes to and its key may watch, whatever its pattern", async () => {
    const { shownBy } = await tokens();
    const token = shownBy({ subscribeKeys: ["order:x:*", "^a"], subscribePatterns: ["*"], accessPattern: "^nothing$" });
    expect(token.subscribes?.("order:1")).toBe(true);
    expect(token.subscribes?.("user:1")).toBe(false);
    const { key, access, log } = await tokens([{ prefix: "order:", verbs: ["read"] }]);
    const refusal = failure(() => access.issueToken(key, { subscribeKeys: ["order:1"] }));
    expect(refusal).toMatchObject({ status: 403, message: expect.stringContaining("may not watch") });
    expect(log.events()).toEqual(["access.denied"]);
    expect(access.issueToken(key, { accessPattern: "." }).token).toBeDefined();
  });

  test("ends at its time", async () => {
    const { access, key } = await tokens(RULES, { tokenLifetimeMs: 1_000 });
    const { token } = access.issueToken(key, { accessPattern: "." });
    const principal = shown(access.verifyToken(token));
    await expect.poll(() => access.verifyToken(token)).toBeUndefined();
    // Connections that it opened go on: only those of keys that are gone end.
    expect(principal.revoked.aborted).toBe(false);
    expect(access.verifyToken(token)).toBeUndefined();
  });

  test("counts as it was signed only", async () => {
    const { access, key, log } = await tokens();
    const one = access.issueToken(key, { subscribeKeys: ["order:1"] }).token;
    const other = access.issueToken(key, { accessPattern: "." }).token;
    const [id = "", payload = "", mac = ""] = one.split(".");
    const otherPayload = other.split(".")[1] ?? "";
    const wrong = [
      "",
      `${id}.${payload}`,
      `${id}.${otherPayload}.${mac}`,
      `${id}x.${payload}.${mac}`,
      `${id}.${payload}.${mac.startsWith("A") ? "B" : "A"}${mac.slice(1)}`,
      `${id}.${payload}.${mac}.`,
      `.${payload}.${mac}`,
      `${id}.${"A".repeat(10_000)}.${mac}`,
      `constructor.${payload}.${mac}`,
    ];
    for (const token of wrong) expect(access.verifyToken(token)).toBeUndefined();
    expect(access.verifyToken(one)).toBeDefined();
    const reasons = log.entries.filter(({ event }) => event === "auth.failed").map((entry) => entry["reason"]);
    expect(reasons).toContain("signature");
    expect(reasons).toContain("unknown");
    expect(reasons).toContain("malformed");
    // Another server, with another secret and the same key.
    const { tokens: _secret, ...apart } = (await tokens()).file;
    expect((await accessOf({ keys: apart })).verifyToken(one)).toBeUndefined();
  });

  test("is refused with what is wrong, and only so large", async () => {
    const { access, key } = await tokens();
    const refusal = (asked: unknown) => failure(() => access.issueToken(key, asked as object));
    const many = (count: number, size = 8) => Array.from({ length: count }, (_, at) => `${at}`.padStart(size, "x"));
    for (const asked of [
      { subscribeKeys: "order:1" },
      { subscribeKeys: [1] },
      { subscribeKeys: [""] },
      { subscribePatterns: {} },
      { subscribeKeys: ["x".repeat(1_025)] },
      { subscribeKeys: many(1_001) },
      { subscribeKeys: many(600), subscribePatterns: many(600, 9) },
      { subscribePatterns: Array.from({ length: 17 }, (_, at) => `^a${at}`) },
      { subscribePatterns: ["^(a+)+$"] },
      { accessPattern: "" },
      { accessPattern: 7 },
      { accessPattern: "(" },
      { accessPattern: "^(?=a)" },
    ]) {
      expect([asked, refusal(asked).status]).toEqual([asked, 400]);
    }
    expect(refusal({ accessPattern: "^(?!a)" }).message).toMatch(/lookaheads/);
    // Random letters do not deflate.
    const hard = Array.from({ length: 300 }, () => newApiKey().text);
    expect(refusal({ subscribeKeys: hard }).message).toMatch(/fit into a URL/);
    const { token } = access.issueToken(key, { subscribeKeys: many(1_000) });
    expect(token.length).toBeLessThan(6_144);
    expect(access.verifyToken(token)?.subscribes?.("order:1")).toBe(false);
  });

  test("is remembered, and not one too many", async () => {
    const { access, key } = await tokens();
    const first = access.issueToken(key, { subscribeKeys: ["order:first"] }).token;
    const before = access.verifyToken(first);
    for (let at = 0; at < 1_100; at++) {
      shown(access.verifyToken(access.issueToken(key, { subscribeKeys: [`order:${at}`] }).token));
    }
    const after = access.verifyToken(first);
    expect(after).not.toBe(before);
    expect(after?.may("read", "order:first")).toBe(true);
  });
});

describe("a certificate", () => {
  const fingerprint = "0123456789abcdef".repeat(4);

  test("stands for tenant and role by its fingerprint, in any form", async () => {
    const { file } = fileOf({}, { certificates: { [fingerprint]: { tenant: "acme", role: "reader" } } });
    const access = await accessOf({ keys: file });
    const principal = shown(access.certificate(fingerprint));
    expect(principal).toMatchObject({ id: "cert-0123456789abcdef", tenant: "acme" });
    expect(principal.may("read", "k")).toBe(true);
    expect(principal.may("write", "k")).toBe(false);
    const colons = (fingerprint.match(/../g) ?? []).join(":").toUpperCase();
    expect(access.certificate(colons)).toBe(principal);
    for (const other of ["", "f".repeat(64), fingerprint.slice(1), "constructor"]) {
      expect(access.certificate(other)).toBeUndefined();
    }
    const { token } = access.issueToken(principal, { subscribeKeys: ["k"] });
    expect(access.verifyToken(token)?.may("read", "k")).toBe(true);
  });

  test("that expired does not count", async () => {
    const expires = "2020-01-01T00:00:00Z";
    const { file } = fileOf({}, { certificates: { [fingerprint]: { tenant: "acme", role: "reader", expires } } });
    expect((await accessOf({ keys: file })).certificate(fingerprint)).toBeUndefined();
  });
});

describe("connections that show nothing", () => {
  test("are of the tenant that the configuration names", async () => {
    const { file } = fileOf();
    const access = await accessOf({ keys: file, riocTenant: "acme" });
    const principal = access.unauthenticated("acme");
    expect(access.unauthenticated("acme")).toBe(principal);
    const verbs: Verb[] = ["read", "write", "delete", "range", "watch"];
    for (const verb of verbs) expect(principal.mayAll(verb)).toBe(true);
    expect(principal.may("admin", "k")).toBe(false);
    expect(principal.mayAll("admin")).toBe(false);
    expect(failure(() => access.issueToken(principal, {})).status).toBe(403);
    await expect(accessOf({ keys: file, riocTenant: "acne" })).rejects.toThrow(
      'riocTenant must be a tenant of the keys file; it is "acne"',
    );
    expect((await accessOf({ riocTenant: "alone" })).unauthenticated("alone").tenant).toBe("alone");
  });
});

test("as many connections as there are listen for the end of what they showed, which is no leak to warn of", async () => {
  const warnings: Error[] = [];
  const warned = (warning: Error): number => warnings.push(warning);
  process.on("warning", warned);
  try {
    const { revoked } = (await accessOf({ riocTenant: "alone" })).unauthenticated("alone");
    for (let count = 0; count < 20; count++) revoked.addEventListener("abort", () => {});
    // Warnings come in a turn of their own.
    await new Promise((resolve) => setTimeout(resolve, 20));
  } finally {
    process.off("warning", warned);
  }
  expect(warnings).toEqual([]);
});

test("without keys nothing counts", async () => {
  const access = await accessOf({});
  expect(access.authenticate(newApiKey().text)).toBeUndefined();
  expect(access.verifyToken("abcd.abcd.abcd")).toBeUndefined();
  expect(access.tenants()).toEqual([]);
});
