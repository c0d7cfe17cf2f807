/** `cairn keys`: what it prints where, what it makes of the file, several at once. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { Access } from "../../adapters/server/access/access.ts";
import { cairn, endOf, linesOf, scratchFolder, startCairn } from "./tool.ts";

const scratch = scratchFolder();
const manifest = await import("../../package.json", { with: { type: "json" } });

/** The principal of a key, by the file. */
async function principalOf(path: string, text: string) {
  const access = await Access.open({ keys: path });
  await access.close();
  return access.authenticate(text);
}

function add(path: string, ...more: string[]): { id: string; text: string; err: string } {
  const { status, out, err } = cairn(["keys", "add", "--keys", path, ...more]);
  expect({ status, err }).toEqual({ status: 0, err });
  const [, id] = /^cairn_([A-Za-z0-9]+)_[\w-]{43}\n$/.exec(out) ?? [];
  if (id === undefined) throw new Error(`no key alone on standard output: ${out}`);
  return { id, text: out.trim(), err };
}

describe("keys add", () => {
  test("makes file, tenant and key, and prints the key alone", async () => {
    const path = scratch("add.json");
    const { id, text, err } = add(path, "--tenant", "acme", "--role", "admin");
    expect(err).toContain("tenant acme is new");
    expect(err).toContain(id);
    expect(err).not.toContain(text);
    expect((statSync(path).mode & 0o777).toString(8)).toBe("600");
    expect(readFileSync(path, "utf8")).not.toContain(text.slice(-43));
    expect(existsSync(`${path}.lock`)).toBe(false);
    const principal = await principalOf(path, text);
    expect(principal).toMatchObject({ id, tenant: "acme" });
    expect(principal?.mayAll("admin")).toBe(true);

    const reader = add(path, "--tenant", "acme", "--role", "reader", "--name", "board", "--expires", "2099-01-01");
    expect(reader.err).not.toContain("is new");
    expect((await principalOf(path, reader.text))?.mayAll("write")).toBe(false);
  });

  test("gives a key a rate of its own, and shows it", async () => {
    const path = scratch("rate.json");
    const { id, text } = add(path, "--tenant", "acme", "--role", "reader", "--requests-per-second", "25");
    expect((await principalOf(path, text))?.limits).toEqual({ requestsPerSecond: 25, burst: 25 });
    expect(linesOf(cairn(["keys", "list", "--keys", path]).out)).toContainEqual(
      expect.objectContaining({ id, limits: { requestsPerSecond: 25 } }),
    );
    for (const rate of ["0", "-1", "1.5", "many", ""]) {
      const words = ["--tenant", "acme", "--role", "reader", `--requests-per-second=${rate}`];
      expect([rate, cairn(["keys", "add", "--keys", path, ...words])]).toMatchObject([rate, { status: 2, out: "" }]);
    }
  });

  test("takes a role of the file, and refuses others with exit status 1 and nothing on standard output", async () => {
    const path = scratch("roles.json");
    writeFileSync(
      path,
      JSON.stringify({ version: 1, roles: { orders: [{ prefix: "order:", verbs: ["read", "write"] }] } }),
    );
    const { text } = add(path, "--tenant", "acme", "--role", "orders");
    const principal = await principalOf(path, text);
    expect([principal?.may("write", "order:1"), principal?.may("write", "user:1")]).toEqual([true, false]);
    const before = readFileSync(path, "utf8");
    const refusal = cairn(["keys", "add", "--keys", path, "--tenant", "acme", "--role", "oders"]);
    expect(refusal).toMatchObject({ status: 1, out: "" });
    expect(refusal.err).toContain("must be one of the roles admin, reader, writer, orders");
    for (const words of [
      ["--tenant", "acme"],
      ["--role", "admin"],
      ["--tenant", "acme", "--role", "admin", "--expires", "2001-01-01"],
      ["--tenant", "acme", "--role", "admin", "--expires", "soon"],
    ]) {
      expect(cairn(["keys", "add", "--keys", path, ...words])).toMatchObject({ status: 2, out: "" });
    }
    expect(cairn(["keys", "add", "--keys", path, "--tenant", "a b", "--role", "admin"])).toMatchObject({
      status: 1,
      out: "",
    });
    expect(readFileSync(path, "utf8")).toBe(before);
  });

  test("loses no key when several run at once", async () => {
    const path = scratch("several.json");
    const runs = await Promise.all(
      Array.from({ length: 5 }, (_, at) =>
        endOf(startCairn(["keys", "add", "--keys", path, "--tenant", `t${at}`, "--role", "reader"])),
      ),
    );
    for (const { status, err } of runs) expect({ status, err }).toEqual({ status: 0, err });
    const keys = linesOf(cairn(["keys", "list", "--keys", path]).out) as { type: string; tenant: string }[];
    expect(
      keys
        .filter(({ type }) => type === "key")
        .map(({ tenant }) => tenant)
        .sort(),
    ).toEqual(["t0", "t1", "t2", "t3", "t4"]);
  });
});

describe("keys list, revoke, rotate", () => {
  test("show no secrets, end keys, and give new ones", async () => {
    const path = scratch("change.json");
    const first = add(path, "--tenant", "acme", "--role", "admin", "--name", "first");
    const second = add(path, "--tenant", "other", "--role", "reader", "--expires", "2099-01-01T12:00:00Z");
    const { out, err } = cairn(["keys", "list", "--keys", path]);
    expect(err).toBe("");
    const created = expect.stringMatching(/^\d{4}-/);
    expect(linesOf(out)).toEqual([
      { type: "tenant", tenant: "acme", namespace: "acme", operator: true },
      { type: "tenant", tenant: "other", namespace: "other", operator: false },
      { type: "key", id: first.id, tenant: "acme", role: "admin", name: "first", created },
      {
        type: "key",
        id: second.id,
        tenant: "other",
        role: "reader",
        created,
        expires: "2099-01-01T12:00:00.000Z",
        expired: false,
      },
    ]);
    const { tokens, keys } = JSON.parse(readFileSync(path, "utf8"));
    for (const secret of [tokens.secret, keys[first.id].sha256, first.text.slice(-43)])
      expect(out).not.toContain(secret);

    const rotated = cairn(["keys", "rotate", first.id, "--keys", path, "--grace", "3600"]);
    expect(rotated).toMatchObject({
      status: 0,
      out: expect.stringMatching(new RegExp(`^cairn_${first.id}_[\\w-]{43}\n$`)),
    });
    expect(await principalOf(path, rotated.out.trim())).toBeDefined();
    expect(await principalOf(path, first.text)).toBeDefined();
    const again = cairn(["keys", "rotate", "--keys", path, first.id]);
    expect(await principalOf(path, again.out.trim())).toBeDefined();
    for (const old of [first.text, rotated.out.trim()]) expect(await principalOf(path, old)).toBeUndefined();

    expect(cairn(["keys", "rotate", "--tokens", "--keys", path])).toMatchObject({ status: 0, out: "" });
    expect(JSON.parse(readFileSync(path, "utf8")).tokens.secret).not.toBe(tokens.secret);

    expect(cairn(["keys", "revoke", second.id, "--keys", path])).toMatchObject({ status: 0, out: "" });
    expect(await principalOf(path, second.text)).toBeUndefined();
    expect(cairn(["keys", "revoke", second.id, "--keys", path])).toMatchObject({ status: 3, out: "" });
    expect(cairn(["keys", "rotate", second.id, "--keys", path])).toMatchObject({ status: 3, out: "" });
    expect(cairn(["keys", "rotate", "--keys", path])).toMatchObject({ status: 2, out: "" });
    expect(cairn(["keys", "rotate", first.id, "--keys", path, "--grace", "soon"])).toMatchObject({
      status: 2,
      out: "",
    });
    expect(cairn(["keys", "remove-tenant", "acme", "--keys", path])).toMatchObject({ status: 0, out: "" });
    expect(linesOf(cairn(["keys", "list", "--keys", path]).out)).toEqual([
      { type: "tenant", tenant: "other", namespace: "other", operator: false },
    ]);
    expect(cairn(["keys", "remove-tenant", "acme", "--keys", path]).status).toBe(3);
  });

  test("need a file that is there and right", () => {
    const path = scratch("none.json");
    for (const words of [["list"], ["revoke", "abcd"], ["rotate", "abcd"]]) {
      const { status, out, err } = cairn(["keys", ...words, "--keys", path]);
      expect({ status, out }).toEqual({ status: 1, out: "" });
      expect(err).toContain("there is no keys file");
    }
    expect(existsSync(path)).toBe(false);
    writeFileSync(path, '{ "version": 1, "kyes": {} }');
    expect(cairn(["keys", "list", "--keys", path])).toMatchObject({
      status: 1,
      err: expect.stringMatching(/did you mean keys/),
    });
    expect(cairn(["keys", "list"])).toMatchObject({ status: 2, out: "" });
  });
});

test("keys certificate takes a PEM file or a fingerprint", async () => {
  const path = scratch("certificate.json");
  const [key, certificate] = [scratch("client.key"), scratch("client.crt")];
  const made = spawnSync("openssl", [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"],
    ...["-subj", "/CN=client", "-keyout", key, "-out", certificate],
  ]);
  expect(made.status).toBe(0);
  const told = spawnSync("openssl", ["x509", "-in", certificate, "-noout", "-fingerprint", "-sha256"], {
    encoding: "utf8",
  });
  const fingerprint = told.stdout.trim().replace(/^.*=/, "");
  const grant = ["--keys", path, "--tenant", "acme", "--role", "writer"];
  const { status, out } = cairn(["keys", "certificate", certificate, ...grant]);
  expect({ status, out }).toEqual({ status: 0, out: `${fingerprint.replaceAll(":", "").toLowerCase()}\n` });
  const access = await Access.open({ keys: path });
  expect(access.certificate(fingerprint)).toMatchObject({ tenant: "acme" });
  await access.close();
  expect(cairn(["keys", "certificate", fingerprint, ...grant])).toMatchObject({
    status: 1,
    err: expect.stringMatching(/is there already/),
  });
  expect(cairn(["keys", "certificate", key, ...grant])).toMatchObject({
    status: 1,
    err: expect.stringMatching(/holds no certificate/),
  });
  const [shown] = linesOf(cairn(["keys", "list", "--keys", path]).out).slice(1) as { id: string }[];
  expect(cairn(["keys", "revoke", shown?.id ?? "", "--keys", path]).status).toBe(0);
});

test("changes are told to an audit log, without secrets", () => {
  const path = scratch("audited.json");
  const audit = scratch("audit.ndjson");
  const { id, text } = add(path, "--tenant", "acme", "--role", "admin", "--audit", audit);
  const rotated = cairn(["keys", "rotate", id, "--keys", path, "--audit", audit]).out.trim();
  cairn(["keys", "revoke", id, "--keys", path, "--audit", audit]);
  const lines = linesOf(readFileSync(audit, "utf8")) as { event: string }[];
  expect(lines.map(({ event }) => event)).toEqual(["key.added", "key.rotated", "key.revoked"]);
  for (const line of lines) expect(line).toMatchObject({ key: id, tenant: "acme", role: "admin", by: "cairn keys" });
  for (const secret of [text, rotated]) expect(readFileSync(audit, "utf8")).not.toContain(secret.slice(-43));
});

test("help names what there is", () => {
  const { status, out } = cairn(["keys", "--help"]);
  expect(status).toBe(0);
  for (const word of ["add", "certificate", "list", "revoke", "rotate", "remove-tenant"]) expect(out).toContain(word);
  expect(cairn(["help", "keys"]).out).toContain("cairn keys add");
  expect(cairn(["--version"]).out.trim()).toBe(manifest.default.version);
});
