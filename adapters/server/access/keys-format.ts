/**
 * What a keys file holds: tenants, roles, API keys, certificates, and the secret that tokens are signed with.
 *
 * 1. Of an API key only the SHA-256 of its secret part is there. The secret has 256 random bits, so a slow hash would protect
 *    nothing more.
 * 2. Whoever may write the file may do everything; whoever may read it can make tokens, but no keys.
 * 3. A file is taken whole or not at all: what is wrong anywhere in it is refused.
 *
 *   { "version": 1,
 *     "tenants":      { "acme": { "namespace": "acme", "operator": true, "limits": { "requestsPerSecond": 100 } } },
 *     "roles":        { "orders": [{ "prefix": "order:", "verbs": ["read", "write"] }] },
 *     "keys":         { "<id>": { "tenant": "acme", "role": "orders", "name": "shop", "sha256": "<64 hex>",
 *                                 "created": "<ISO>", "expires": "<ISO>", "limits": { "requestsPerSecond": 10 }, "previous": { "sha256": "…", "until": "<ISO>" } } },
 *     "certificates": { "<SHA-256 of the certificate, 64 hex>": { "tenant": "acme", "role": "reader" } },
 *     "tokens":       { "secret": "<43 base64url>", "previous": { "secret": "…", "until": "<ISO>" } } }
 */
import { randomBytes } from "node:crypto";
import { CairnError } from "../../../store/error.ts";
import { VERBS, type Verb } from "../principal.ts";
import { flagOf, listOf, momentOf, record, refuseUnknown, textOf, wrong } from "./fields.ts";
import { checkGrantLimits, type GrantLimits, type Limits, partialLimits } from "./limit-fields.ts";

export const KEYS_VERSION = 1;

/** A key space of its own. */
export interface TenantEntry {
  /** The namespace of the store that holds its records; "": the store's own keys. Default: the tenant's name. */
  namespace?: string;
  /** Whether its admins may see to the store as a whole: backup, statistics. Default: when there is no other tenant. */
  operator?: boolean;
  limits?: Partial<Limits>;
}

/** What a role allows for the keys that begin with `prefix`; "": all. */
export interface RoleRule {
  prefix: string;
  verbs: Verb[];
}

/** What an API key or a certificate stands for. */
export interface GrantEntry {
  tenant: string;
  /** `admin`, `reader`, `writer`, or one of the file's roles. */
  role: string;
  /** For people. */
  name?: string;
  created?: string;
  /** From when it counts no more. */
  expires?: string;
  /** A rate of its own, within that of its tenant. `burst` by default as much as `requestsPerSecond`. */
  limits?: GrantLimits;
}

export interface KeyEntry extends GrantEntry {
  /** Of the secret part, in lower-case hexadecimal. */
  sha256: string;
  /** The secret before, while both count. */
  previous?: { sha256: string; until: string };
}

/** A keys file's contents. */
export interface KeysFile {
  version?: number;
  tenants?: Record<string, TenantEntry>;
  roles?: Record<string, RoleRule[]>;
  /** By id. */
  keys?: Record<string, KeyEntry>;
  /** By fingerprint. */
  certificates?: Record<string, GrantEntry>;
  tokens?: { secret: string; previous?: { secret: string; until: string } };
}

/** Roles that every file has. */
export const BUILT_IN_ROLES: Readonly<Record<string, readonly RoleRule[]>> = {
  admin: [{ prefix: "", verbs: [...VERBS] }],
  reader: [{ prefix: "", verbs: ["read", "range", "watch"] }],
  writer: [{ prefix: "", verbs: ["read", "write", "delete", "range", "watch"] }],
};

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const NAME_ALLOWED = "1 to 64 letters, digits, '.', '_' or '-', a letter or digit first";
const KEY_ID = /^[A-Za-z0-9]{4,32}$/;
const SHA256 = /^[0-9a-f]{64}$/;
const TOKEN_SECRET = /^[A-Za-z0-9_-]{43}$/;
const NAMESPACE_SIZE_MAX = 256;
const PREFIX_SIZE_MAX = 512;
const RULE_COUNT_MAX = 256;

const encoder = new TextEncoder();

/** A new secret for tokens. */
export function newTokenSecret(): string {
  return randomBytes(32).toString("base64url");
}

/** The same, with a secret for tokens if it has none: such tokens end with the process. */
export function withTokenSecret(file: KeysFile): KeysFile {
  return file.tokens === undefined ? { ...file, tokens: { secret: newTokenSecret() } } : file;
}

/** Whether `name` may be a tenant's or a role's. */
export function checkName(name: string, field: string): void {
  if (!NAME.test(name)) throw wrong(field, name, NAME_ALLOWED);
}

/** Reads the text of a keys file. `source` is named in errors. */
export function parseKeysText(text: string, source: string): KeysFile {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    // The parser's words may hold a piece of the file.
    const at = /position \d+|line \d+ column \d+/.exec((error as Error).message)?.[0];
    throw refused(`${source} is not JSON${at === undefined ? "" : ` (at ${at})`}`);
  }
  const file = record(value, source);
  if (file["version"] === undefined) {
    throw refused(`${source} is no keys file: it has no "version". "cairn keys add" makes one`);
  }
  try {
    return parseKeys(file, "");
  } catch (error) {
    if (error instanceof CairnError) throw refused(`in ${source}: ${error.message}`);
    throw error;
  }
}

/** Checks a keys file's contents. Throws `INVALID_ARGUMENT` for what is wrong; `place` is where they stand. */
export function parseKeys(value: unknown, place: string): KeysFile {
  const file = record(value, place || "the keys file");
  const version = file["version"] ?? KEYS_VERSION;
  const inPlace = (field: string): string => (place === "" ? field : `${place}.${field}`);
  if (version !== KEYS_VERSION) {
    throw wrong(inPlace("version"), version, `${KEYS_VERSION}, the only one that this version of cairn-kv knows`);
  }
  refuseUnknown(file, ["version", "tenants", "roles", "keys", "certificates", "tokens"], place);
  checkTenants(file["tenants"] ?? {}, inPlace("tenants"));
  checkRoles(file["roles"] ?? {}, inPlace("roles"));
  const checked = file as KeysFile;
  for (const [id, entry] of Object.entries(record(file["keys"] ?? {}, inPlace("keys")))) {
    checkKey(id, entry, checked, `${inPlace("keys")}.${id}`);
  }
  for (const [fingerprint, entry] of Object.entries(record(file["certificates"] ?? {}, inPlace("certificates")))) {
    const field = `${inPlace("certificates")}.${fingerprint}`;
    if (!SHA256.test(fingerprint)) throw wrong(field, fingerprint, "named by a SHA-256 in 64 lower-case hex digits");
    const grant = record(entry, field);
    refuseUnknown(grant, ["tenant", "role", "name", "created", "expires", "limits"], field);
    checkGrant(grant, checked, field);
  }
  if (file["tokens"] !== undefined) checkTokens(file["tokens"], inPlace("tokens"));
  return checked;
}

function checkTenants(value: unknown, place: string): void {
  const namespaces = new Map<string, string>();
  for (const [name, entry] of Object.entries(record(value, place))) {
    const field = `${place}.${name}`;
    checkName(name, field);
    const tenant = record(entry, field);
    refuseUnknown(tenant, ["namespace", "operator", "limits"], field);
    const namespace = tenant["namespace"] ?? name;
    const allowed = `text of at most ${NAMESPACE_SIZE_MAX} bytes, or "" for the store's own keys`;
    if (typeof namespace !== "string" || !isText(namespace, NAMESPACE_SIZE_MAX)) {
      throw wrong(`${field}.namespace`, namespace, allowed);
    }
    const other = namespaces.get(namespace);
    if (other !== undefined) {
      throw wrong(`${field}.namespace`, namespace, `another than that of ${other}: tenants share no records`);
    }
    namespaces.set(namespace, name);
    flagOf(tenant["operator"], `${field}.operator`);
    if (tenant["limits"] !== undefined) partialLimits(tenant["limits"], `${field}.limits`);
  }
}

function checkRoles(value: unknown, place: string): void {
  for (const [name, entry] of Object.entries(record(value, place))) {
    const field = `${place}.${name}`;
    checkName(name, field);
    if (Object.hasOwn(BUILT_IN_ROLES, name)) throw wrong(field, name, "another name: every file has this role");
    const allowed = `a list of 1 to ${RULE_COUNT_MAX} rules { "prefix", "verbs" }`;
    const rules = listOf(entry, field, allowed);
    if (rules === undefined || rules.length === 0 || rules.length > RULE_COUNT_MAX) throw wrong(field, entry, allowed);
    for (const [at, item] of rules.entries()) {
      const rule = record(item, `${field}[${at}]`);
      refuseUnknown(rule, ["prefix", "verbs"], `${field}[${at}]`);
      const { prefix, verbs } = rule;
      if (typeof prefix !== "string" || !isText(prefix, PREFIX_SIZE_MAX)) {
        throw wrong(`${field}[${at}].prefix`, prefix, `text of at most ${PREFIX_SIZE_MAX} bytes, "" for all keys`);
      }
      const isVerbs = Array.isArray(verbs) && verbs.length > 0 && verbs.every((verb) => VERBS.includes(verb as Verb));
      if (!isVerbs) throw wrong(`${field}[${at}].verbs`, verbs, `a list of ${VERBS.join(", ")}`);
    }
  }
}

function checkKey(id: string, value: unknown, file: KeysFile, field: string): void {
  if (!KEY_ID.test(id)) throw wrong(field, id, "named by 4 to 32 letters and digits");
  const entry = record(value, field);
  refuseUnknown(entry, ["tenant", "role", "name", "created", "expires", "limits", "sha256", "previous"], field);
  checkGrant(entry, file, field);
  checkHash(entry["sha256"], `${field}.sha256`);
  if (entry["previous"] === undefined) return;
  const previous = record(entry["previous"], `${field}.previous`);
  refuseUnknown(previous, ["sha256", "until"], `${field}.previous`);
  checkHash(previous["sha256"], `${field}.previous.sha256`);
  checkUntil(previous["until"], `${field}.previous.until`);
}

function checkGrant(grant: Record<string, unknown>, file: KeysFile, field: string): void {
  const { tenant, role } = grant;
  if (typeof tenant !== "string" || !Object.hasOwn(file.tenants ?? {}, tenant)) {
    throw wrong(`${field}.tenant`, tenant, "one of the file's tenants");
  }
  const isKnown =
    typeof role === "string" && (Object.hasOwn(BUILT_IN_ROLES, role) || Object.hasOwn(file.roles ?? {}, role));
  if (!isKnown) {
    const names = [...Object.keys(BUILT_IN_ROLES), ...Object.keys(file.roles ?? {})];
    throw wrong(`${field}.role`, role, `one of the roles ${names.join(", ")}`);
  }
  textOf(grant["name"], `${field}.name`);
  momentOf(grant["created"], `${field}.created`);
  momentOf(grant["expires"], `${field}.expires`);
  checkGrantLimits(grant["limits"], `${field}.limits`);
}

function checkTokens(value: unknown, field: string): void {
  const tokens = record(value, field);
  refuseUnknown(tokens, ["secret", "previous"], field);
  checkTokenSecret(tokens["secret"], `${field}.secret`);
  if (tokens["previous"] === undefined) return;
  const previous = record(tokens["previous"], `${field}.previous`);
  refuseUnknown(previous, ["secret", "until"], `${field}.previous`);
  checkTokenSecret(previous["secret"], `${field}.previous.secret`);
  checkUntil(previous["until"], `${field}.previous.until`);
}

function checkUntil(value: unknown, field: string): void {
  if (momentOf(value, field) === undefined) throw wrong(field, value, "a date and time in ISO 8601");
}

// Errors go to logs: they never show a secret, nor a hash.
function checkHash(value: unknown, field: string): void {
  if (typeof value !== "string" || !SHA256.test(value)) {
    throw refused(`${field} must be a SHA-256 in 64 lower-case hex digits.`);
  }
}

function checkTokenSecret(value: unknown, field: string): void {
  if (typeof value !== "string" || !TOKEN_SECRET.test(value)) {
    throw refused(`${field} must be 43 characters of base64url. "cairn keys rotate --tokens" makes a new one.`);
  }
}

/** Text that survives UTF-8, of so many bytes at most. */
function isText(text: string, sizeMax: number): boolean {
  return text.length <= sizeMax && !/\p{Surrogate}/u.test(text) && encoder.encode(text).length <= sizeMax;
}

function refused(message: string): CairnError {
  return new CairnError("INVALID_ARGUMENT", "keys", message);
}
