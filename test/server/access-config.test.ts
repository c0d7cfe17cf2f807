/** The server's configuration: defaults, what is refused and in which words, files. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { limitsOver, readConfigFile, resolveConfig, type ServerConfig } from "../../adapters/server/config.ts";
import { CairnError } from "../../store/error.ts";

const folder = mkdtempSync(join(tmpdir(), "cairn-config-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The words of the refusal of `config`. */
function refusal(config: unknown): string {
  try {
    resolveConfig(config as ServerConfig);
  } catch (error) {
    expect(error).toBeInstanceOf(CairnError);
    expect((error as CairnError).code).toBe("INVALID_ARGUMENT");
    return (error as Error).message;
  }
  throw new Error(`${JSON.stringify(config)} was taken`);
}

test("an empty configuration is whole, safe, and only for this machine", () => {
  const settings = resolveConfig();
  expect(settings).toMatchObject({
    host: "127.0.0.1",
    port: 0,
    riocPort: undefined,
    riocTimestamps: "ignore",
    allowPlain: false,
    origins: [],
    console: true,
    metrics: { key: false, tenants: 0 },
    readOnly: false,
    tokenLifetimeMs: 7_200_000,
    legacyValueLimit: false,
    timeouts: { headerMs: 10_000, bodyMs: 30_000, idleMs: 75_000, requestMs: 60_000 },
  });
  expect(settings.limits.tenant.requestsPerSecond).toBeGreaterThanOrEqual(400_000);
  expect(settings.limits.connections).toBeGreaterThan(10_000);
  expect(resolveConfig(settings)).toEqual(settings);
});

test("what is given in part is completed", () => {
  const { limits, timeouts } = resolveConfig({
    limits: { connections: 5, tenant: { burst: 3 } },
    timeouts: { headerMs: 7 },
  });
  const plain = resolveConfig();
  expect(limits).toEqual({
    ...plain.limits,
    connections: 5,
    tenant: { ...plain.limits.tenant, burst: 3 },
  });
  expect(timeouts).toEqual({ ...plain.timeouts, headerMs: 7 });
  expect(limitsOver(limits.tenant, { burst: 9 })).toEqual({ ...limits.tenant, burst: 9 });
  expect(limitsOver(limits.tenant, undefined)).toEqual(limits.tenant);
});

test("metrics ask for a key when others than this machine can reach them", () => {
  const keyAt = (host: string) => resolveConfig({ host }).metrics.key;
  expect(["127.0.0.1", "127.8.9.1", "localhost", "::1", "[::1]", "::ffff:127.0.0.1"].map(keyAt)).not.toContain(true);
  expect(
    ["0.0.0.0", "::", "10.0.0.1", "128.0.0.1", "127.0.0.1.example.com", "x.localhost.com"].map(keyAt),
  ).not.toContain(false);
  expect(resolveConfig({ host: "0.0.0.0", metrics: { key: false } }).metrics.key).toBe(false);
});

test("each field says what is wrong with it", () => {
  expect(refusal({ port: 70_000 })).toBe("port must be a port from 0 (any that is free) to 65535; it is 70000.");
  expect(refusal({ port: "8080" })).toMatch(/^port must .*; it is "8080"\.$/);
  expect(refusal({ riocPort: -1 })).toMatch(/^riocPort must be a port/);
  expect(refusal({ host: "" })).toMatch(/^host must be text/);
  expect(refusal({ riocTimestamps: "stirct" })).toBe('riocTimestamps must be "ignore" or "strict"; it is "stirct".');
  expect(refusal({ logLevel: "loud" })).toMatch(/"debug", "info", "warn", "error" or "silent"/);
  expect(refusal({ allowPlain: "yes" })).toMatch(/^allowPlain must be true or false/);
  expect(refusal({ limits: { connections: 0 } })).toMatch(/^limits\.connections must be a whole number from 1/);
  expect(refusal({ limits: { tenant: { burst: 1.5 } } })).toMatch(/^limits\.tenant\.burst must be a whole number/);
  expect(refusal({ limits: { tenant: { tenant: {} } } })).toMatch(/^limits\.tenant\.tenant is no field/);
  expect(refusal({ timeouts: { headerMs: Number.NaN } })).toMatch(/^timeouts\.headerMs must/);
  expect(refusal({ tls: { cert: "a.pem" } })).toMatch(/^tls\.key must be PEM text, or a path of it; it is missing/);
  expect(refusal({ tls: { cert: "a", key: "b", requestClient: true } })).toMatch(/^tls\.ca must/);
  expect(refusal({ origins: "https://a.example" })).toMatch(/^origins must be a list/);
  for (const origin of ["https://a.example/", "a.example", "https://A.example", "https://a.example:443", 7]) {
    expect(refusal({ origins: [origin] })).toMatch(/^origins\[0\] must be/);
  }
  expect(refusal({ tokenLifetimeMs: 1 })).toMatch(/^tokenLifetimeMs must/);
  expect(refusal({ audit: 7 })).toMatch(/^audit must be a path or a function/);
  expect(refusal({ log: "stderr" })).toMatch(/^log must be a function/);
  expect(refusal({ keys: 7 })).toMatch(/^keys must be a keys file's path, or its contents/);
  expect(refusal({ keys: { tenants: { "a b": {} } } })).toMatch(/^keys\.tenants\.a b must be/);
  expect(refusal([])).toMatch(/^the configuration must be an object/);
  expect(refusal(null)).toMatch(/^the configuration must be an object/);
});

test("a field that nobody knows is refused, with the one that is meant", () => {
  expect(refusal({ prot: 1 })).toBe("prot is no field that is known; did you mean port?");
  expect(refusal({ Host: "x" })).toMatch(/did you mean host\?/);
  expect(refusal({ limits: { conections: 1 } })).toBe(
    "limits.conections is no field that is known; did you mean connections?",
  );
  expect(refusal({ metrics: { keys: true } })).toMatch(/did you mean key\?/);
  expect(refusal({ somethingElse: 1 })).toMatch(/there are keys, host, port/);
  expect(refusal({ tls: { certificate: "x" } })).toMatch(/^tls\.certificate/);
});

test("a file is JSON, its paths are those of its folder, and errors name it", async () => {
  const path = join(folder, "server.json");
  writeFileSync(
    path,
    JSON.stringify({ keys: "keys.json", audit: "/var/log/audit", tls: { cert: "-----BEGIN X", key: "tls/key.pem" } }),
  );
  const config = await readConfigFile(path);
  expect(config).toEqual({
    keys: join(folder, "keys.json"),
    audit: "/var/log/audit",
    tls: { cert: "-----BEGIN X", key: join(folder, "tls/key.pem") },
  });
  writeFileSync(path, '{ "port": 1, }');
  await expect(readConfigFile(path)).rejects.toThrow(`the configuration file ${path} is not JSON`);
  writeFileSync(path, '{ "prot": 1 }');
  await expect(readConfigFile(path)).rejects.toThrow(`in the configuration file ${path}: prot is no field`);
  writeFileSync(path, "[]");
  await expect(readConfigFile(path)).rejects.toThrow(/must be an object/);
  await expect(readConfigFile(join(folder, "none.json"))).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
});

test("keys that are given as contents have one secret for tokens, wherever they are taken to", () => {
  const { keys } = resolveConfig({ keys: { tenants: { acme: {} } } });
  expect(keys).toMatchObject({ tenants: { acme: {} }, tokens: { secret: expect.stringMatching(/^[\w-]{43}$/) } });
  expect(resolveConfig({ keys }).keys).toEqual(keys);
});
