/** Keys files on disk: read while they change, changed by several writers, and what the audit log tells of it. */
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { hostname } from "node:os";
import { describe, expect, test } from "vitest";
import { Audit } from "../../adapters/server/access/audit.ts";
import {
  addCertificate,
  addKey,
  removeTenant,
  revoke,
  rotateKey,
  rotateTokens,
} from "../../adapters/server/access/keys-changes.ts";
import { changeKeysFile, readKeysFile } from "../../adapters/server/access/keys-file.ts";
import type { KeysFile } from "../../adapters/server/access/keys-format.ts";
import { accessOf, auditLog, fileOf, scratchFolder, shown } from "./access-keys.ts";

const scratch = scratchFolder();
let pathCount = 0;

/** A keys file of `count` admins, in a folder of its own. */
async function keysFile(count = 1): Promise<{ path: string; texts: string[]; ids: string[] }> {
  const folder = scratch(`f${pathCount++}`);
  mkdirSync(folder);
  const path = `${folder}/keys.json`;
  const grant = { tenant: "acme", role: "admin" };
  const keys = await changeKeysFile(path, (file) => Array.from({ length: count }, () => addKey(file, grant)), {
    create: true,
  });
  return { path, texts: keys.map(({ text }) => text), ids: keys.map(({ id }) => id) };
}

const at = (texts: string[], index: number) => texts[index] ?? "";

describe("a keys file that changes", () => {
  test("is in force within about a second, and what it no longer holds ends", async () => {
    const { path, texts, ids } = await keysFile(2);
    const log = auditLog();
    const access = await accessOf({ keys: path, audit: log.audit });
    const [stays, goes] = texts.map((text) => shown(access.authenticate(text)));
    if (stays === undefined || goes === undefined) throw new Error("no keys");
    const { token } = access.issueToken(goes, { accessPattern: "." });
    const ofToken = shown(access.verifyToken(token));
    let endedAt = 0;
    goes.revoked.addEventListener("abort", () => {
      endedAt = performance.now();
    });

    const startedAt = performance.now();
    const added = await changeKeysFile(path, (file) => {
      revoke(file, at(ids, 1));
      return addKey(file, { tenant: "new", role: "reader" });
    });
    await expect.poll(() => goes.revoked.aborted).toBe(true);
    const elapsedMs = endedAt - startedAt;
    console.log(`${elapsedMs.toFixed(0)} ms`);
    expect(elapsedMs).toBeLessThan(5_000);
    expect(ofToken.revoked.aborted).toBe(true);
    expect(access.authenticate(at(texts, 1))).toBeUndefined();
    expect(access.verifyToken(token)).toBeUndefined();
    expect(stays.revoked.aborted).toBe(false);
    expect(access.authenticate(at(texts, 0))).toBe(stays);
    expect(access.authenticate(added.text)).toMatchObject({ tenant: "new" });
    const told = log.entries.filter(({ event }) => !event.startsWith("auth") && event !== "token.issued");
    expect(told).toEqual([
      { time: expect.any(String), event: "tenant.added", tenant: "new", by: "keys file" },
      { time: expect.any(String), event: "key.added", key: added.id, tenant: "new", by: "keys file" },
      { time: expect.any(String), event: "key.revoked", key: at(ids, 1), tenant: "acme", by: "keys file" },
    ]);
  });

  test("is noticed without the system's notices, too, when it is replaced through another folder's link", async () => {
    const { path, texts, ids } = await keysFile(2);
    const link = scratch(`link${pathCount++}`);
    symlinkSync(path, link);
    const access = await accessOf({ keys: link });
    const principal = shown(access.authenticate(at(texts, 0)));
    await changeKeysFile(path, (file) => revoke(file, at(ids, 0)));
    await expect.poll(() => principal.revoked.aborted).toBe(true);
    await changeKeysFile(link, (file) => revoke(file, at(ids, 1)));
    await expect.poll(() => access.authenticate(at(texts, 1))).toBeUndefined();
    expect(Object.keys((await readKeysFile(path)).keys ?? {})).toEqual([]);
  });

  test("with other rights for a key ends what the old ones let in", async () => {
    const { path, texts, ids } = await keysFile(2);
    const access = await accessOf({ keys: path });
    const principal = shown(access.authenticate(at(texts, 0)));
    const other = shown(access.authenticate(at(texts, 1)));
    // In place, as an editor may write it.
    writeFileSync(path, readFileSync(path, "utf8").replace('"role": "admin"', '"role": "reader"'));
    await expect.poll(() => principal.revoked.aborted).toBe(true);
    const first = shown(access.authenticate(at(texts, 0)));
    expect(Object.keys((await readKeysFile(path)).keys ?? {})[0]).toBe(at(ids, 0));
    expect(first.may("write", "k")).toBe(false);
    expect(other.revoked.aborted).toBe(false);
  });

  test("that is wrong, or gone, changes nothing, and is told once", async () => {
    const { path, texts, ids } = await keysFile();
    const lines: [string, string][] = [];
    const access = await accessOf({ keys: path }, (level, message) => lines.push([level, message]));
    const principal = shown(access.authenticate(at(texts, 0)));
    const right = readFileSync(path, "utf8");
    const errors = () => lines.filter(([level]) => level === "error").map(([, message]) => message);

    writeFileSync(path, right.slice(0, -20));
    await expect.poll(errors).toHaveLength(1);
    expect(errors()[0]).toMatch(/the one before still counts: .*keys\.json is not JSON/);
    writeFileSync(path, right.replace('"admin"', '"amdin"'));
    await expect.poll(errors).toHaveLength(2);
    expect(errors()[1]).toContain(`in ${path}: keys.${at(ids, 0)}.role must be one of the roles admin, reader, writer`);
    renameSync(path, `${path}.away`);
    await expect.poll(errors).toHaveLength(3);
    expect(errors()[2]).toMatch(/cannot be read/);
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    expect(errors()).toHaveLength(3);
    expect(access.authenticate(at(texts, 0))).toBe(principal);
    expect(principal.revoked.aborted).toBe(false);

    writeFileSync(path, right);
    const { text } = await changeKeysFile(path, (file) => addKey(file, { tenant: "acme", role: "reader" }));
    await expect.poll(() => access.authenticate(text)).toBeDefined();
    expect(principal.revoked.aborted).toBe(false);
  });

  test("gives a key a new secret, and the old one its grace", async () => {
    const { path, texts, ids } = await keysFile(2);
    const log = auditLog();
    const access = await accessOf({ keys: path, audit: log.audit });
    const [graced, cut] = texts.map((text) => shown(access.authenticate(text)));
    if (graced === undefined || cut === undefined) throw new Error("no keys");
    const oldToken = access.issueToken(graced, { accessPattern: "." }).token;
    const cutToken = access.issueToken(cut, { accessPattern: "." }).token;
    const rotated = await changeKeysFile(path, (file) => {
      const now = [rotateKey(file, at(ids, 0), 3), rotateKey(file, at(ids, 1), 0)];
      return now.map((key) => key?.text ?? "");
    });
    await expect.poll(() => cut.revoked.aborted).toBe(true);
    for (const text of rotated) expect(access.authenticate(text)).toBeDefined();
    expect(access.authenticate(at(texts, 1))).toBeUndefined();
    expect(access.verifyToken(cutToken)).toBeUndefined();
    // The grace may be over on a slow machine: then this says nothing, and what follows says all.
    if (!graced.revoked.aborted) {
      expect(access.authenticate(at(texts, 0))).toBe(graced);
      expect(access.verifyToken(oldToken)).toBeDefined();
    }
    await expect.poll(() => graced.revoked.aborted).toBe(true);
    expect(access.authenticate(at(texts, 0))).toBeUndefined();
    expect(access.verifyToken(oldToken)).toBeUndefined();
    expect(shown(access.authenticate(at(rotated, 0))).id).toBe(at(ids, 0));
    expect(log.events().filter((event) => event === "key.rotated")).toHaveLength(2);
  });

  test("gives tokens a new secret", async () => {
    const { path, texts } = await keysFile();
    const access = await accessOf({ keys: path });
    const key = shown(access.authenticate(at(texts, 0)));
    const { token } = access.issueToken(key, { accessPattern: "." });
    await changeKeysFile(path, (file) => rotateTokens(file, 60));
    const secretOf = (file: KeysFile) => file.tokens?.secret;
    const graced = secretOf(await readKeysFile(path));
    await expect.poll(() => access.issueToken(key, { accessPattern: "." }).token === token).toBe(false);
    expect(access.verifyToken(token)).toBeDefined();
    await changeKeysFile(path, (file) => rotateTokens(file, 0));
    await expect.poll(() => access.verifyToken(token)).toBeUndefined();
    expect(secretOf(await readKeysFile(path))).not.toBe(graced);
    expect(key.revoked.aborted).toBe(false);
  });

  test("tells other processes of the same tokens", async () => {
    const { path, texts } = await keysFile();
    const [one, other] = [await accessOf({ keys: path }), await accessOf({ keys: path })];
    const { token } = one.issueToken(shown(one.authenticate(at(texts, 0))), { accessPattern: "^a" });
    expect(other.verifyToken(token)?.may("read", "a")).toBe(true);
  });

  test("takes its tenant away", async () => {
    const { path, texts } = await keysFile();
    const { text } = await changeKeysFile(path, (file) => addKey(file, { tenant: "other", role: "admin" }));
    const access = await accessOf({ keys: path, riocTenant: "acme" });
    const open = access.unauthenticated("acme");
    const principal = shown(access.authenticate(at(texts, 0)));
    expect(await changeKeysFile(path, (file) => removeTenant(file, "acme"))).toMatchObject({ ids: [principal.id] });
    await expect.poll(() => [principal.revoked.aborted, open.revoked.aborted]).toEqual([true, true]);
    expect(() => access.tenant("acme")).toThrow(/not there/);
    // The one that is left does not see to the store by being alone.
    expect(shown(access.authenticate(text)).mayAll("admin")).toBe(false);
  });
});

describe("a keys file", () => {
  test("that is none, or open to others, is told", async () => {
    await expect(accessOf({ keys: scratch("none.json") })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    const path = scratch("wrong.json");
    const wrong: [text: string, message: RegExp][] = [
      ["", /wrong\.json is not JSON/],
      ["[]", /must be an object/],
      ["{}", /is no keys file: it has no "version"/],
      ['{"version":2}', /version must be 1/],
      ['{"version":1,"tenant":{}}', /tenant is no field that is known; did you mean tenants\?/],
      ['{"version":1,"tenants":{"__proto__":{}}}', /tenants\.__proto__ must be/],
      ['{"version":1,"tenants":{"a":{"namespace":"n"},"n":{}}}', /tenants share no records/],
      ['{"version":1,"tenants":{"a":{"limits":{"burts":1}}}}', /tenants\.a\.limits\.burts .* did you mean burst/],
      ['{"version":1,"tenants":{"a":{"namespace":"\\ud800"}}}', /tenants\.a\.namespace must be text/],
      ['{"version":1,"roles":{"admin":[]}}', /roles\.admin must be another name/],
      ['{"version":1,"roles":{"r":[]}}', /roles\.r must be a list of 1 to 256 rules/],
      [
        '{"version":1,"roles":{"r":[{"prefix":"","verbs":["raed"]}]}}',
        /roles\.r\[0\]\.verbs must be a list of read, write/,
      ],
      ['{"version":1,"roles":{"r":[{"verbs":["read"]}]}}', /roles\.r\[0\]\.prefix must be text/],
      ['{"version":1,"keys":{"abcd":{"tenant":"a","role":"admin"}}}', /keys\.abcd\.tenant must be one of/],
      ['{"version":1,"tokens":{"secret":"hunter2"}}', /tokens\.secret must be 43 characters/],
      ['{"version":1,"certificates":{"AB":{}}}', /certificates\.AB must be named by a SHA-256/],
      [
        '{"version":1,"tenants":{"a":{}},"certificates":{"' +
          "0".repeat(64) +
          '":{"tenant":"a","role":"admin","limits":{"requestsPerSecond":0}}}}',
        /limits\.requestsPerSecond must be/,
      ],
    ];
    for (const [text, message] of wrong) {
      writeFileSync(path, text);
      await expect(accessOf({ keys: path }), text).rejects.toThrow(message);
    }
    const { file } = fileOf({ expires: "soon" });
    writeFileSync(path, JSON.stringify({ version: 1, ...file }));
    await expect(accessOf({ keys: path })).rejects.toThrow(/expires must be a date/);
    for (const [limits, message] of [
      [{}, /limits\.requestsPerSecond must be .*missing/],
      [{ requestsPerSecond: 1.5 }, /limits\.requestsPerSecond must be/],
      [{ requestsPerSecond: 1, burst: 0 }, /limits\.burst must be/],
      [{ requestsPerSecond: 1, connections: 1 }, /limits\.connections is no field/],
      [[], /limits must be an object/],
    ] as const) {
      writeFileSync(path, JSON.stringify({ version: 1, ...fileOf({ limits: limits as never }).file }));
      await expect(accessOf({ keys: path })).rejects.toThrow(message);
    }
    const open = await keysFile();
    const lines: string[] = [];
    chmodSync(open.path, 0o644);
    await accessOf({ keys: open.path }, (level, message) => lines.push(`${level} ${message}`));
    expect(lines).toEqual([expect.stringMatching(/^warn Others may read the keys file .*chmod 600/)]);
  });

  test("that is wrong is told without what is in it", async () => {
    const path = scratch("secret.json");
    const hash = "a".repeat(60);
    writeFileSync(
      path,
      `{"version":1,"tenants":{"a":{}},"keys":{"abcd":{"tenant":"a","role":"admin","sha256":"${hash}"}}}`,
    );
    await expect(accessOf({ keys: path })).rejects.toThrow(/keys\.abcd\.sha256 must be a SHA-256/);
    await expect(accessOf({ keys: path })).rejects.not.toThrow(hash);
    writeFileSync(path, `{"version":1,"tokens":{"secret":"${hash}" x`);
    await expect(accessOf({ keys: path })).rejects.not.toThrow("aaaa");
  });

  test("is its owner's alone, and is replaced as a whole", async () => {
    const { path } = await keysFile();
    const mode = () => (statSync(path).mode & 0o777).toString(8);
    expect(mode()).toBe("600");
    chmodSync(path, 0o640);
    const { ino } = statSync(path);
    await changeKeysFile(path, (file) => addKey(file, { tenant: "acme", role: "reader" }));
    expect(mode()).toBe("600");
    expect(statSync(path).ino).not.toBe(ino);
    expect(readdirSync(path.replace(/\/[^/]*$/, ""))).toEqual(["keys.json"]);
    const before = readFileSync(path, "utf8");
    await expect(changeKeysFile(path, (file) => addKey(file, { tenant: "acme", role: "amdin" }))).rejects.toThrow(
      /role must/,
    );
    await expect(
      changeKeysFile(path, () => {
        throw new Error("given up");
      }),
    ).rejects.toThrow("given up");
    expect(readFileSync(path, "utf8")).toBe(before);
    expect(readdirSync(path.replace(/\/[^/]*$/, ""))).toEqual(["keys.json"]);
    await expect(changeKeysFile(scratch("no.json"), () => {})).rejects.toThrow(/there is no keys file/);
    await expect(changeKeysFile(scratch("no/keys.json"), () => {}, { create: true })).rejects.toThrow(/cannot be/);
  });

  test("loses nothing of writers at the same time", async () => {
    const { path, ids } = await keysFile();
    const grant = { tenant: "acme", role: "reader" };
    const added = await Promise.all(
      Array.from({ length: 12 }, async () => (await changeKeysFile(path, (file) => addKey(file, grant))).id),
    );
    expect(Object.keys((await readKeysFile(path)).keys ?? {}).sort()).toEqual([...ids, ...added].sort());
  });

  test("waits for the lock of a process that lives, and takes that of one that died", async () => {
    const { path } = await keysFile();
    const grant = { tenant: "acme", role: "reader" };
    const lock = (pid: number, host = hostname()) =>
      writeFileSync(`${path}.lock`, JSON.stringify({ pid, host, token: "t" }));
    lock(process.pid);
    let isDone = false;
    const waiting = changeKeysFile(path, (file) => addKey(file, grant)).then(() => {
      isDone = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(isDone).toBe(false);
    rmSync(`${path}.lock`);
    await waiting;

    const dead = spawnSync("true").pid;
    lock(dead);
    const start = performance.now();
    await changeKeysFile(path, (file) => addKey(file, grant));
    expect(performance.now() - start).toBeLessThan(8_000);
    expect(existsSync(`${path}.lock`)).toBe(false);
    expect(Object.keys((await readKeysFile(path)).keys ?? {})).toHaveLength(3);
  });

  test("makes the first tenant the one that sees to the store, and says so in the file", async () => {
    const { path } = await keysFile();
    await changeKeysFile(path, (file) => addKey(file, { tenant: "second", role: "admin", namespace: "two" }));
    await changeKeysFile(path, (file) =>
      addCertificate(file, `${"AB:".repeat(31)}AB`, { tenant: "third", role: "reader", operator: true }),
    );
    const { tenants, certificates } = await readKeysFile(path);
    expect(tenants).toEqual({
      acme: { namespace: "acme", operator: true },
      second: { namespace: "two", operator: false },
      third: { namespace: "third", operator: true },
    });
    expect(certificates).toEqual({
      ["ab".repeat(32)]: { tenant: "third", role: "reader", created: expect.any(String) },
    });
    const again = changeKeysFile(path, (file) => addKey(file, { tenant: "second", role: "admin", namespace: "three" }));
    await expect(again).rejects.toThrow(/is there already, with the namespace "two"/);
  });
});

describe("the audit log", () => {
  test("tells who was refused, at a bounded rate, and no secrets", async () => {
    const log = auditLog();
    const { file, text, id } = fileOf();
    const access = await accessOf({ keys: file, audit: log.audit });
    const from = { address: "192.0.2.7", protocol: "rest" };
    const wrong = `${text.slice(0, -1)}${text.endsWith("A") ? "B" : "A"}`;
    access.authenticate(wrong, from);
    access.authenticate("hunter2", from);
    expect(log.entries).toEqual([
      {
        time: expect.stringMatching(/^\d{4}-.*Z$/),
        event: "auth.failed",
        kind: "key",
        reason: "secret",
        key: id,
        ...from,
      },
      { time: expect.any(String), event: "auth.failed", kind: "key", reason: "malformed", ...from },
    ]);
    for (let at = 0; at < 5_000; at++) access.authenticate(wrong, from);
    expect(log.entries.length).toBeLessThan(500);
    const principal = shown(access.authenticate(text));
    const { token } = access.issueToken(principal, { subscribeKeys: ["k"] }, from);
    access.denied(principal, "write", "k".repeat(1_000), from);
    access.denied(principal, "write", Uint8Array.of(0xff), from);
    access.audit.admin("backup", { key: principal.id });
    await access.close();
    expect(log.events()).toEqual(expect.arrayContaining(["token.issued", "access.denied", "admin"]));
    const suppressed = log.entries
      .map((entry) => Number(entry["suppressed"] ?? 0))
      .reduce((sum, count) => sum + count, 0);
    expect(log.entries.filter(({ event }) => event === "auth.failed").length + suppressed).toBeGreaterThanOrEqual(
      5_002,
    );
    const all = JSON.stringify(log.entries);
    for (const secret of [
      text.slice(-43),
      wrong.slice(-43),
      token,
      token.split(".")[1] ?? "",
      "hunter2",
      "k".repeat(200),
    ]) {
      expect(all).not.toContain(secret);
    }
  });

  test("is a file of NDJSON of its owner's alone, that may be moved away", async () => {
    const path = scratch("audit.ndjson");
    const { file, text } = fileOf();
    const access = await accessOf({ keys: file, audit: path });
    const principal = shown(access.authenticate(text));
    access.issueToken(principal, {});
    await expect.poll(() => existsSync(path) && readFileSync(path, "utf8")).toMatch(/\n$/);
    expect((statSync(path).mode & 0o777).toString(8)).toBe("600");
    renameSync(path, `${path}.1`);
    access.issueToken(principal, {});
    await access.close();
    const [line, ...rest] = readFileSync(path, "utf8").split("\n");
    expect(JSON.parse(line ?? "")).toMatchObject({ event: "token.issued", key: principal.id, tenant: "acme" });
    expect(rest).toEqual([""]);
  });

  test("holds nothing up, and little memory, when the disk does not take it", async () => {
    const path = scratch("fifo");
    expect(spawnSync("mkfifo", [path]).status).toBe(0);
    // A pipe takes 64 KiB, and then nothing until somebody reads.
    const reader = spawn("sh", ["-c", 'exec 3<>"$0"; echo open; read go; exec cat <&3', path]);
    await new Promise((resolve) => reader.stdout.once("data", resolve));
    const audit = new Audit(path, () => {});
    audit.record("first");
    await new Promise((resolve) => setTimeout(resolve, 50));
    const start = performance.now();
    for (let at = 0; at < 50_000; at++) {
      audit.record("filler", { at, text: "x".repeat(50) });
      if (at === 5_000) await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(performance.now() - start).toBeLessThan(10_000);
    let out = "";
    reader.stdout.on("data", (chunk) => {
      out += chunk;
    });
    reader.stdin.write("go\n");
    await audit.close();
    await expect.poll(() => out.includes("audit.dropped") && out.endsWith("\n")).toBe(true);
    reader.kill();
    const lines = out
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line));
    const fillers = lines.filter(({ event }) => event === "filler");
    expect(lines[0]).toMatchObject({ event: "first" });
    expect(fillers.length).toBeGreaterThan(1_000);
    expect(fillers.length).toBeLessThan(20_000);
    const dropped = lines.filter(({ event }) => event === "audit.dropped").reduce((sum, { count }) => sum + count, 0);
    expect(fillers.length + dropped).toBe(50_000);
  });

  test("that cannot be written is told once", async () => {
    const told: string[] = [];
    const audit = new Audit(scratch("no/audit"), (_level, message) => told.push(message));
    for (let at = 0; at < 3; at++) {
      audit.record("event");
      await audit.close();
    }
    expect(told).toEqual([expect.stringMatching(/^The audit log cannot be written: /)]);
    const thrown: string[] = [];
    const failing = new Audit(
      () => {
        throw new Error("no");
      },
      (_level, message) => thrown.push(message),
    );
    failing.record("event");
    expect(thrown).toEqual([expect.stringMatching(/threw: no/)]);
  });
});
