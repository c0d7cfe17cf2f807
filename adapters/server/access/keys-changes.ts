/** What `cairn keys` does to a keys file's contents. Each changes the file in place, or throws and leaves it as it was. */
import { CairnError } from "../../../store/error.ts";
import { newApiKey } from "./api-keys.ts";
import { certificateId } from "./credentials.ts";
import { type GrantEntry, type KeysFile, newTokenSecret } from "./keys-format.ts";

/** What a new key or certificate stands for. */
export interface Grant {
  tenant: string;
  role: string;
  name?: string | undefined;
  /** ISO 8601. */
  expires?: string | undefined;
  /** A rate of its own. */
  requestsPerSecond?: number | undefined;
  /** Of a tenant that is made with it; default: its name. */
  namespace?: string | undefined;
  /** Whether the tenant's admins may see to the store as a whole; of a new one default: when it is the first. */
  operator?: boolean | undefined;
}

/** What was done, for people and for the audit log. */
export interface KeysChange {
  id: string;
  tenant: string;
  role: string;
  /** Whether the tenant was made. */
  isNewTenant: boolean;
  isOperator: boolean;
}

/** Adds an API key, and its tenant when that is missing. `text` is the key: nothing else ever holds it. */
export function addKey(file: KeysFile, grant: Grant): KeysChange & { text: string } {
  const keys = file.keys ?? {};
  let key = newApiKey();
  while (Object.hasOwn(keys, key.id)) key = newApiKey();
  const change = addTenant(file, grant);
  file.keys = { ...keys, [key.id]: { ...entryOf(grant), sha256: key.sha256 } };
  return { ...change, id: key.id, text: key.text };
}

/** Adds a certificate by its SHA-256: 64 hex digits, colons or not. */
export function addCertificate(
  file: KeysFile,
  fingerprint: string,
  grant: Grant,
): KeysChange & { fingerprint: string } {
  const plain = fingerprint.replaceAll(":", "").toLowerCase();
  if (!/^[0-9a-f]{64}$/.test(plain))
    throw refused(`${fingerprint} is no SHA-256 of a certificate: it has 64 hex digits`);
  if (Object.hasOwn(file.certificates ?? {}, plain)) {
    throw refused(`the certificate is there already, as ${certificateId(plain)}; revoke that first`);
  }
  const change = addTenant(file, grant);
  file.certificates = { ...file.certificates, [plain]: entryOf(grant) };
  return { ...change, id: certificateId(plain), fingerprint: plain };
}

/** Takes a key or certificate out. `undefined`: there is none with this id. */
export function revoke(file: KeysFile, id: string): { tenant: string; role: string } | undefined {
  const key = file.keys !== undefined && Object.hasOwn(file.keys, id) ? file.keys[id] : undefined;
  if (key !== undefined) {
    delete file.keys?.[id];
    return key;
  }
  for (const [fingerprint, entry] of Object.entries(file.certificates ?? {})) {
    if (certificateId(fingerprint) !== id && fingerprint !== id) continue;
    delete file.certificates?.[fingerprint];
    return entry;
  }
  return undefined;
}

/** Gives a key a new secret. The old one counts for `graceSeconds` more. `undefined`: there is no key with this id. */
export function rotateKey(
  file: KeysFile,
  id: string,
  graceSeconds: number,
): { text: string; tenant: string; role: string } | undefined {
  const entry = file.keys !== undefined && Object.hasOwn(file.keys, id) ? file.keys[id] : undefined;
  if (entry === undefined) return undefined;
  const { text, sha256 } = newApiKey(id);
  const old = entry.sha256;
  entry.sha256 = sha256;
  if (graceSeconds > 0) entry.previous = { sha256: old, until: untilOf(graceSeconds) };
  else delete entry.previous;
  return { text, tenant: entry.tenant, role: entry.role };
}

/** Gives tokens a new secret. Those that were made before count for `graceSeconds` more. */
export function rotateTokens(file: KeysFile, graceSeconds: number): void {
  const old = file.tokens?.secret;
  file.tokens = { secret: newTokenSecret() };
  if (old !== undefined && graceSeconds > 0) file.tokens.previous = { secret: old, until: untilOf(graceSeconds) };
}

/** Takes a tenant out, with all its keys and certificates; its records stay. `undefined`: there is none. */
export function removeTenant(file: KeysFile, tenant: string): { ids: string[] } | undefined {
  if (file.tenants === undefined || !Object.hasOwn(file.tenants, tenant)) return undefined;
  const ids: string[] = [];
  for (const [id, entry] of Object.entries(file.keys ?? {})) if (entry.tenant === tenant) ids.push(id);
  for (const [fingerprint, entry] of Object.entries(file.certificates ?? {})) {
    if (entry.tenant === tenant) ids.push(certificateId(fingerprint));
  }
  for (const id of ids) revoke(file, id);
  const { [tenant]: _gone, ...others } = file.tenants;
  // One that is left alone does not come to see to the store by that.
  for (const other of Object.values(others)) other.operator ??= false;
  file.tenants = others;
  return { ids };
}

function addTenant(file: KeysFile, grant: Grant): Omit<KeysChange, "id"> {
  const { tenant, role, namespace, operator } = grant;
  const tenants = file.tenants ?? {};
  const known = Object.hasOwn(tenants, tenant) ? tenants[tenant] : undefined;
  if (known !== undefined) {
    if (namespace !== undefined && namespace !== (known.namespace ?? tenant)) {
      throw refused(
        `the tenant ${tenant} is there already, with the namespace ${JSON.stringify(known.namespace ?? tenant)}`,
      );
    }
    const isOperator = operator ?? known.operator ?? Object.keys(tenants).length === 1;
    if (operator !== undefined) known.operator = operator;
    return { tenant, role, isNewTenant: false, isOperator };
  }
  const count = Object.keys(tenants).length;
  // What was the only one's by that goes on to be, now that it is said.
  if (count === 1) for (const only of Object.values(tenants)) only.operator ??= true;
  const isOperator = operator ?? count === 0;
  const entry = { namespace: namespace ?? tenant, operator: isOperator };
  file.tenants = { ...tenants, [tenant]: entry };
  return { tenant, role, isNewTenant: true, isOperator };
}

function entryOf({ tenant, role, name, expires, requestsPerSecond }: Grant): GrantEntry {
  return {
    tenant,
    role,
    ...(name === undefined ? {} : { name }),
    created: new Date().toISOString(),
    ...(expires === undefined ? {} : { expires }),
    ...(requestsPerSecond === undefined ? {} : { limits: { requestsPerSecond } }),
  };
}

function untilOf(seconds: number): string {
  return new Date(Date.now() + seconds * 1000).toISOString();
}

function refused(message: string): CairnError {
  return new CairnError("INVALID_ARGUMENT", "keys", message);
}
