/** Keys files for tests: contents by hand, real files, an access that is closed after the test. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach } from "vitest";
import { Access, type AccessConfig, type AccessLog } from "../../adapters/server/access/access.ts";
import { newApiKey } from "../../adapters/server/access/api-keys.ts";
import type { KeyEntry, KeysFile, RoleRule } from "../../adapters/server/access/keys-format.ts";
import type { AuditEntry } from "../../adapters/server/config.ts";
import type { Principal } from "../../adapters/server/principal.ts";

const opened: Access[] = [];

/** An access that is closed after the test. */
export async function accessOf(config: AccessConfig, log?: AccessLog): Promise<Access> {
  const access = await Access.open(config, log);
  opened.push(access);
  return access;
}

afterEach(async () => {
  for (const access of opened.splice(0)) await access.close();
});

/** A function that gives paths in a new folder, which is removed after the test file's last test. */
export function scratchFolder(): (name: string) => string {
  const folder = mkdtempSync(join(tmpdir(), "cairn-access-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return (name) => join(folder, name);
}

/** A file of one key, and what the key is. */
export function fileOf(
  grant: Partial<KeyEntry> = {},
  rest: KeysFile = {},
): { file: KeysFile; id: string; text: string } {
  const { id, text, sha256 } = newApiKey();
  const entry = { tenant: "acme", role: "admin", sha256, ...grant };
  return { id, text, file: { tenants: { acme: {} }, ...rest, keys: { ...rest.keys, [id]: entry } } };
}

/** The principal of a key with a role of these rules. */
export async function principalOf(rules: RoleRule[], config: Omit<AccessConfig, "keys"> = {}): Promise<Principal> {
  const { file, text } = fileOf({ role: "own" }, { roles: { own: rules } });
  return shown((await accessOf({ ...config, keys: file })).authenticate(text));
}

/** A principal that must be there. */
export function shown(principal: Principal | undefined): Principal {
  if (principal === undefined) throw new Error("it does not count");
  return principal;
}

/** An audit log in memory. */
export function auditLog(): { entries: AuditEntry[]; audit: (entry: AuditEntry) => void; events: () => string[] } {
  const entries: AuditEntry[] = [];
  return { entries, audit: (entry) => entries.push(entry), events: () => entries.map(({ event }) => event) };
}
